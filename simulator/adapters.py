"""LoRA adapters: low-rank additions to every projection, of which each sequence of a batch may use its own."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kvwall.hardware.errors import InputError
from kvwall.hardware.validation import shortened
from kvwall.simulator.deployment import Deployment
from kvwall.simulator.traffic import Numeric, Operator, term
from kvwall.simulator.weights_memory import layer_linears
from kvwall.workloads.model_spec import ModelSpec

_PUNICA = "Chen et al. 2023, Punica, arXiv 2310.18547, section 3"


@dataclass(frozen=True)
class Adapters:
    """``count`` resident adapters of rank ``rank``, 16 bits."""

    count: int
    rank: int

    def parameters(self, model: ModelSpec, deployment: Deployment) -> float:
        """Parameters of one adapter on one rank: ``r (in + out)`` of every projection that is no expert or router."""
        linears = [
            linear for linear in layer_linears(model, deployment) if not linear.experts and linear.name != "router"
        ]
        return sum(linear.layers * self.rank * (linear.inputs + linear.outputs) for linear in linears)


def parse_adapters(text: str) -> Adapters:
    """``"8:16"`` as eight adapters of rank 16.

    :raises InputError: not two whole numbers in range
    """
    match = re.fullmatch(r"\s*([0-9]{1,9}):([0-9]{1,9})\s*", text)
    if match is None:
        raise InputError(f"--lora {shortened(text)}: write N:RANK, as in 8:16")
    adapters = Adapters(int(match[1]), int(match[2]))
    if not 1 <= adapters.count <= 100_000 or not 1 <= adapters.rank <= 4096:
        raise InputError(f"--lora {shortened(text)}: N must be 1 to 100000 and RANK 1 to 4096, as in 8:16")
    return adapters


def adapter_operator(
    adapters: Adapters, model: ModelSpec, deployment: Deployment, sequences: Numeric, tokens: Numeric, ranks: Numeric
) -> Operator:
    """The grouped products of a batch: every adapter in use is read once, every token visits one."""
    parameters = adapters.parameters(model, deployment)
    used = "distinct adapters in use, each read once per step"
    terms = (
        term("read adapters", "hbm", "2 * W * min(N, B)", f"{_PUNICA}: {used}", tally="weights",
             W=parameters, N=adapters.count, B=sequences),
        term("multiply", "matrix", "2 * W * T", _PUNICA, W=parameters, T=tokens),
    )  # fmt: skip
    return Operator("adapters", "LoRA products", "gemm", terms, 2.0 * model.layers, ranks=ranks)
