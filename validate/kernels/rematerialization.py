"""Decode from cached layer inputs: widen the 4- or 8-bit inputs, project them to keys and values, rotate, attend.

After XQuant (arXiv 2508.10395): the input of the layer is stored once instead of its keys and values, asymmetric per
token in groups of channels. Its projections are products with as many rows as there are cached tokens, whatever the
batch, so this is arithmetic where reading a cache is traffic.
"""

from __future__ import annotations

from math import sqrt

import torch

from kvwall.validate.kernels.case import Case
from kvwall.validate.kernels.dense_attention import causal_attention
from kvwall.validate.kernels.rotary import rotate
from kvwall.validate.kernels.trial import DTYPES, Source, Trial, attend, size_bytes

_ROPE_BASE = 10000.0


def widen(codes: torch.Tensor, scale: torch.Tensor, low: torch.Tensor, bits: int, dtype: torch.dtype) -> torch.Tensor:
    """Layer inputs ``[rows, width]``.

    :param codes: bytes, two 4-bit codes in one, the lower half first
    :param scale: ``[rows, groups]``, like ``low``
    """
    if bits == 4:
        codes = torch.stack([codes & 15, codes >> 4], dim=-1).flatten(-2)
    grouped = codes.unflatten(-1, (scale.shape[-1], -1)).to(dtype)
    return (grouped * scale.to(dtype).unsqueeze(-1) + low.to(dtype).unsqueeze(-1)).flatten(-2)


def prepare(case: Case, source: Source) -> Trial:
    """Options: ``width`` of the layer input, ``bits`` (4 or 8), ``group`` (128) channels of a scale."""
    batch, heads, kv_heads = case.size("batch"), case.size("n_q_heads"), case.size("n_kv_heads")
    tokens, d, dtype = case.size("kv_len"), case.size("head_dim"), DTYPES[case.dtype]
    width, bits = case.option("width", heads * d), case.option("bits", 4)
    groups = width // case.option("group", 128)
    q = source.normal(batch, heads, 1, d, dtype=dtype)
    codes = source.integers(batch * tokens, width * bits // 8, low=0, high=256, dtype=torch.uint8)
    reach = 2.0**bits - 1
    scale = source.uniform(batch * tokens, groups, low=2 / reach, high=4 / reach, dtype=torch.float16)
    low = source.uniform(batch * tokens, groups, low=-2.0, high=-1.0, dtype=torch.float16)
    weights = source.normal(width, 2 * kv_heads * d, dtype=dtype, scale=width**-0.5)

    def project(wide: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = widen(codes, scale, low, bits, wide)
        both = (inputs @ weights.to(wide)).reshape(batch, tokens, 2, kv_heads, d).permute(2, 0, 3, 1, 4)
        return rotate(both[0], _ROPE_BASE), both[1]

    return Trial(
        run=lambda: causal_attention(q, *project(dtype)).squeeze(2),
        reference=lambda: attend(q.squeeze(2), *project(torch.float64), 1 / sqrt(d)),
        buffers=(q, codes, scale, low, weights),
        moved_bytes=size_bytes(codes, scale, low, weights) + 2 * size_bytes(q),
        flops=batch * tokens * (4.0 * width * kv_heads * d + 4.0 * heads * d),
    )
