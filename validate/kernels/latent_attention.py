"""Decode with multi-head latent attention, absorbed, through plain torch products: scores, softmax, mixture.

The counterpart of :mod:`kvwall.validate.kernels.mla_decode` without a kernel of its own: scores pass through memory.
"""

from __future__ import annotations

from math import sqrt

import torch

from kvwall.validate.kernels.case import Case
from kvwall.validate.kernels.trial import DTYPES, Source, Trial, attend, size_bytes


def prepare(case: Case, source: Source) -> Trial:
    """``head_dim`` is latent plus rotary. Options: ``rotary`` (64)."""
    batch, heads, tokens = case.size("batch"), case.size("n_q_heads"), case.size("kv_len")
    width = case.size("head_dim")
    latent = width - case.option("rotary", 64)
    q = source.normal(batch, heads, width, dtype=DTYPES[case.dtype])
    cache = source.normal(batch, tokens, width, dtype=DTYPES[case.dtype])

    def run() -> torch.Tensor:
        scores = torch.bmm(q, cache.transpose(1, 2)) / sqrt(width)
        return torch.bmm(torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype), cache[..., :latent])

    return Trial(
        run=run,
        reference=lambda: attend(q, cache.unsqueeze(1), cache[..., :latent].unsqueeze(1), 1 / sqrt(width)),
        buffers=(q, cache),
        moved_bytes=size_bytes(q, cache) + batch * heads * latent * q.element_size(),
        flops=2.0 * batch * heads * tokens * (width + latent),
    )
