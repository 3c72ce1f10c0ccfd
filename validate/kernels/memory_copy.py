"""A copy within the memory of one device: the ceiling of everything that is bound by bandwidth."""

from __future__ import annotations

import torch

from kvwall.validate.kernels.case import Case
from kvwall.validate.kernels.trial import DTYPES, Source, Trial, size_bytes


def prepare(case: Case, source: Source) -> Trial:
    """``message_bytes`` are copied, so twice as many are moved."""
    dtype = DTYPES[case.dtype]
    origin = source.normal(max(1, case.size("message_bytes") // dtype.itemsize), dtype=dtype)
    out = torch.empty_like(origin)
    return Trial(
        run=lambda: out.copy_(origin),
        reference=lambda: origin.double(),
        output=out,
        buffers=(origin, out),
        moved_bytes=size_bytes(origin, out),
        flops=0.0,
        written_bytes=size_bytes(out),
    )
