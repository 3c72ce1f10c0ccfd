"""Copies over the host link, by direction, size and kind of host memory."""

from __future__ import annotations

import torch

from kvwall.validate.kernels.case import Case
from kvwall.validate.kernels.trial import Source, Trial

_STRETCH_BYTES = 2**20


def prepare(case: Case, source: Source) -> Trial:
    """``message_bytes``. Options: ``direction`` (``h2d`` or ``d2h``), ``memory`` (``pinned`` or ``pageable``)."""
    size = case.size("message_bytes")
    on_gpu = source.device.type == "cuda"
    pinned = case.word("memory", "pinned") == "pinned"
    # Drawing gigabytes on the host takes seconds; a link does not compress, so a repeated stretch will do.
    stretch = source.host().integers(min(size, _STRETCH_BYTES), low=0, high=256, dtype=torch.uint8)
    host = stretch.repeat(-(-size // _STRETCH_BYTES))[:size].clone()
    if pinned and on_gpu:
        host = host.pin_memory()
    device = source.integers(size, low=0, high=256, dtype=torch.uint8)
    to_device = case.word("direction", "h2d") == "h2d"
    origin, out = (host, device) if to_device else (device, host)
    return Trial(
        run=lambda: out.copy_(origin, non_blocking=pinned),
        reference=lambda: origin.double(),
        buffers=(device,),
        moved_bytes=float(size),
        flops=0.0,
        output=out,
        capturable=pinned,
    )
