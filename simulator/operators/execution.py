"""What a step pays where a scheme changes how it is run: weights that come from elsewhere, collectives that hide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kvwall.simulator.execution import Execution
from kvwall.simulator.traffic import Numeric, Operator, Symbols, term

_OFFLOAD = "Sheng et al. 2023, FlexGen, arXiv 2303.06865, section 4: weights of the next layer load under this one"
_EXPERTS = "PreMoe 2025, arXiv 2505.17639: experts of a task are retrieved when it is met"

#: Collectives that a residual stream can run ahead of; a dispatch of tokens to experts is waited for.
_HIDDEN = "all-reduce"


def loaded_weights(reading: Sequence[Operator], execution: Execution, ranks: Numeric) -> list[Operator]:
    """The copy of those weights of the layers that do not stay on the device, beside the computation.

    :param reading: operators whose weights one load of the layers must hold, for every load of the step
    """
    read: Numeric = sum(
        (t.amount for o in reading if o.owner in {"attention", "feed-forward"} for t in o.terms
         if t.tally == "weights"),
        start=np.float64(0.0),
    )  # fmt: skip
    part: Symbols = {"W": read, "h": execution.weights_on_host, "s": execution.weights_on_ssd}
    terms = [
        term("load weights", "host link in", "W * (h + s)", _OFFLOAD, **part),
        term("stage weights", "hbm", "W * (h + s)", _OFFLOAD, compulsory=False, **part),
    ]
    if execution.weights_on_ssd:
        terms.append(term("read weights from SSD", "ssd", "W * s", _OFFLOAD, **part))
    return [Operator("weights", "load weights", "copy", tuple(terms), 0, "copy in", ranks)]


def swapped_experts(resident_bytes: float, execution: Execution, ranks: Numeric) -> list[Operator]:
    """Routed experts that take the place of others in a step, which waits for them."""
    if not execution.swapped_experts:
        return []
    load = term("load experts", "host link in", "W * f", _EXPERTS, W=resident_bytes, f=execution.swapped_experts)
    return [Operator("weights", "load experts", "copy", (load,), 0, ranks=ranks)]


def beside(collectives: Sequence[Operator], execution: Execution) -> list[Operator]:
    """``collectives`` on a stream of their own where the all-reduce of a block hides under the next block."""
    if not execution.hidden_all_reduce:
        return list(collectives)
    return [replace(o, stream="network") if _HIDDEN in o.name else o for o in collectives]
