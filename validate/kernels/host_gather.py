"""Gather scattered rows on the host into a pinned buffer and copy that: what an offload without zero copy does."""

from __future__ import annotations

import torch

from kvwall.validate.kernels.case import Case
from kvwall.validate.kernels.trial import DTYPES, Source, Trial, size_bytes


def prepare(case: Case, source: Source) -> Trial:
    """``m`` rows of ``k`` numbers. Options: ``of`` rows that lie in host memory (8 times ``m``)."""
    rows, width, of = case.size("m"), case.size("k"), case.option("of", 8 * case.size("m"))
    host = source.host()
    stored = host.normal(of, width, dtype=DTYPES[case.dtype])
    chosen = host.permutation(of, dtype=torch.int64)[:rows].contiguous()
    staging = torch.empty(rows, width, dtype=stored.dtype)
    if source.device.type == "cuda":
        staging = staging.pin_memory()
    out = torch.empty(rows, width, dtype=stored.dtype, device=source.device)

    def run() -> torch.Tensor:
        torch.index_select(stored, 0, chosen, out=staging)
        return out.copy_(staging)

    return Trial(
        run=run,
        reference=lambda: stored.double()[chosen],
        buffers=(chosen, out),
        moved_bytes=size_bytes(out),
        flops=0.0,
        output=out,
        capturable=False,
    )
