"""The time of a kernel that does next to nothing: what every launch costs.

Eager, each call passes through torch and the driver; replayed from a graph, only the gap between two kernels is left.
"""

from __future__ import annotations

import torch

from kvwall.validate.kernels.case import Case
from kvwall.validate.kernels.trial import Source, Trial, size_bytes


def prepare(case: Case, source: Source) -> Trial:
    """Options: ``mode`` (``graph`` or ``eager``)."""
    counter = torch.zeros(32, dtype=torch.float32, device=source.device)
    origin = source.normal(32)

    def run() -> torch.Tensor:
        return torch.add(origin, 1.0, out=counter)

    return Trial(
        run=run,
        reference=lambda: origin.double() + 1.0,
        buffers=(origin, counter),
        moved_bytes=size_bytes(origin, counter),
        flops=32.0,
        output=counter,
        capturable=case.word("mode", "graph") == "graph",
    )
