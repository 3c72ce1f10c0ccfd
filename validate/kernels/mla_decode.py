"""Decode with multi-head latent attention, absorbed: every query head reads one latent and one rotary key per token.

A token is ``latent + rotary`` numbers (512 + 64 in DeepSeek-V3); its latent part is key and value at once, so it is
read once. Query heads are rows of a tile, up to 32 at a time.
"""

from __future__ import annotations

from math import sqrt

import torch
import triton
import triton.language as tl

from kvwall.validate.kernels.case import Case
from kvwall.validate.kernels.split_softmax import (
    LOG2_E,
    Splits,
    compute_dtype,
    fold,
    plan_splits,
    store_split,
    tile_rows,
)
from kvwall.validate.kernels.trial import DTYPES, Source, Trial, attend, size_bytes

_BLOCK = 32
_MOST_ROWS = 32


@triton.jit
def _mla_split(
    q: tl.tensor,
    cache: tl.tensor,
    parts: tl.tensor,
    logs: tl.tensor,
    scale: tl.tensor,
    tokens: tl.tensor,
    span: tl.tensor,
    splits: tl.tensor,
    heads: tl.constexpr,
    latent: tl.constexpr,
    rotary: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    turning: tl.constexpr,
    block: tl.constexpr,
    compute: tl.constexpr,
) -> None:
    width: tl.constexpr = latent + rotary
    tiles: tl.constexpr = (heads + rows - 1) // rows
    sequence = tl.program_id(0) // tiles
    first = (tl.program_id(0) % tiles) * rows
    split = tl.program_id(1)
    row = tl.arange(0, rows)
    column = tl.arange(0, columns)
    turn = tl.arange(0, turning)
    inside = first + row < heads
    line = (sequence * heads + first + row).to(tl.int64) * width
    wide = column < latent
    narrow = turn < rotary
    still = tl.load(q + line[:, None] + column[None, :], inside[:, None] & wide[None, :], 0.0).to(compute)
    turned = tl.load(q + line[:, None] + latent + turn[None, :], inside[:, None] & narrow[None, :], 0.0).to(compute)
    top = tl.full([rows], float("-inf"), tl.float32)
    total = tl.zeros([rows], tl.float32)
    mixed = tl.zeros([rows, columns], tl.float32)
    for start in range(split * span, tl.minimum(split * span + span, tokens), block):
        token = start + tl.arange(0, block)
        held = token < tokens
        place = (sequence.to(tl.int64) * tokens + token) * width
        shared = tl.load(cache + place[:, None] + column[None, :], held[:, None] & wide[None, :], 0.0).to(compute)
        angle = tl.load(cache + place[:, None] + latent + turn[None, :], held[:, None] & narrow[None, :], 0.0)
        scores = tl.dot(still, tl.trans(shared)) + tl.dot(turned, tl.trans(angle.to(compute)))
        scores = tl.where(held[None, :], scores * scale, float("-inf"))
        top, total, mixed = fold(scores, shared, top, total, mixed, compute)
    first_row = sequence * heads + first
    store_split(top, total, mixed, parts, logs, first_row, heads - first, split, splits, latent, rows, columns)


def _run(q: torch.Tensor, cache: torch.Tensor, splits: Splits) -> torch.Tensor:
    batch, heads, width = q.shape
    latent = splits.out.shape[-1]
    rows = tile_rows(heads, _MOST_ROWS)
    _mla_split[(batch * triton.cdiv(heads, rows), splits.count)](
        q,
        cache,
        splits.parts,
        splits.logs,
        LOG2_E / sqrt(width),
        cache.shape[1],
        splits.span,
        splits.count,
        heads=heads,
        latent=latent,
        rotary=width - latent,
        rows=rows,
        columns=triton.next_power_of_2(latent),
        turning=triton.next_power_of_2(width - latent),
        block=_BLOCK,
        compute=compute_dtype(q),
        num_warps=8,
        num_stages=2,
    )
    return splits.merge()


def prepare(case: Case, source: Source) -> Trial:
    """``head_dim`` is latent plus rotary. Options: ``rotary`` (64), ``splits``."""
    batch, heads, tokens = case.size("batch"), case.size("n_q_heads"), case.size("kv_len")
    width, rotary = case.size("head_dim"), case.option("rotary", 64)
    latent = width - rotary
    q = source.normal(batch, heads, width, dtype=DTYPES[case.dtype])
    cache = source.normal(batch, tokens, width, dtype=DTYPES[case.kv_dtype or case.dtype])
    items = batch * triton.cdiv(heads, tile_rows(heads, _MOST_ROWS))
    out = torch.empty(batch, heads, latent, dtype=q.dtype, device=q.device)
    splits = plan_splits(out, items, tokens, _BLOCK, source.units, case.option("splits"))
    return Trial(
        run=lambda: _run(q, cache, splits),
        reference=lambda: attend(q, cache.unsqueeze(1), cache[..., :latent].unsqueeze(1), 1 / sqrt(width)),
        output=out,
        buffers=(q, cache, *splits.buffers),
        moved_bytes=size_bytes(q, cache) + splits.moved_bytes,
        flops=2.0 * batch * heads * tokens * (width + latent),
    )
