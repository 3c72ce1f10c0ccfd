"""Decode over low-rank latents: keys are rebuilt and rotated on the fly, values stay latents.

After Palu (arXiv 2407.21118): heads in groups share a latent ``h = x A``; a key is ``RoPE(h B)`` and has to be rebuilt,
because the rotation stands between B and the query; a value is ``h B`` too, but its B is folded into the output
projection, so attention mixes latents and the result is as wide as the rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2, sqrt

import torch
import triton
import triton.language as tl

from kvwall.validate.kernels.case import Case
from kvwall.validate.kernels.rotary import rotate
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

_BLOCK = 64
_RANK_BLOCK = 32
_ROPE_BASE = 10000.0


@triton.jit
def _lowrank_split(
    q: tl.tensor,
    key_latent: tl.tensor,
    rebuild: tl.tensor,
    value_latent: tl.tensor,
    parts: tl.tensor,
    logs: tl.tensor,
    scale: tl.tensor,
    log_base: tl.tensor,
    tokens: tl.tensor,
    span: tl.tensor,
    splits: tl.tensor,
    kv_heads: tl.constexpr,
    shared_by: tl.constexpr,
    group: tl.constexpr,
    head_dim: tl.constexpr,
    rank: tl.constexpr,
    value_rank: tl.constexpr,
    rows: tl.constexpr,
    half_columns: tl.constexpr,
    columns: tl.constexpr,
    block: tl.constexpr,
    rank_block: tl.constexpr,
    compute: tl.constexpr,
) -> None:
    half: tl.constexpr = head_dim // 2
    latents: tl.constexpr = kv_heads // shared_by
    item = tl.program_id(0)
    split = tl.program_id(1)
    sequence = (item // kv_heads).to(tl.int64)
    head = item % kv_heads
    latent = head // shared_by
    row = tl.arange(0, rows)
    channel = tl.arange(0, half_columns)
    column = tl.arange(0, columns)
    step = tl.arange(0, rank_block)
    narrow = channel < half
    inside = (row < group)[:, None] & narrow[None, :]
    queries = q + (item * group + row).to(tl.int64)[:, None] * head_dim + channel[None, :]
    first_query = tl.load(queries, inside, 0.0).to(compute)
    second_query = tl.load(queries + half, inside, 0.0).to(compute)
    frequency = tl.exp2(channel.to(tl.float32) * (-2.0 / head_dim) * log_base)
    weights = rebuild + latent * rank * shared_by * head_dim + (head % shared_by) * head_dim + channel[None, :]
    top = tl.full([rows], float("-inf"), tl.float32)
    total = tl.zeros([rows], tl.float32)
    mixed = tl.zeros([rows, columns], tl.float32)
    for start in range(split * span, tl.minimum(split * span + span, tokens), block):
        token = start + tl.arange(0, block)
        held = token < tokens
        line = (sequence * tokens + token) * latents + latent
        first = tl.zeros([block, half_columns], tl.float32)
        second = tl.zeros([block, half_columns], tl.float32)
        for begin in range(0, rank, rank_block):
            at = begin + step
            some = tl.load(key_latent + line[:, None] * rank + at[None, :], held[:, None] & (at < rank)[None, :], 0.0)
            place = weights + at[:, None] * (shared_by * head_dim)
            both = (at < rank)[:, None] & narrow[None, :]
            first += tl.dot(some.to(compute), tl.load(place, both, 0.0).to(compute))
            second += tl.dot(some.to(compute), tl.load(place + half, both, 0.0).to(compute))
        angle = token.to(tl.float32)[:, None] * frequency[None, :]
        cosine = tl.cos(angle)
        sine = tl.sin(angle)
        scores = tl.dot(first_query, tl.trans((first * cosine - second * sine).to(compute)))
        scores += tl.dot(second_query, tl.trans((second * cosine + first * sine).to(compute)))
        scores = tl.where(held[None, :], scores * scale, float("-inf"))
        mask = held[:, None] & (column < value_rank)[None, :]
        value = tl.load(value_latent + line[:, None] * value_rank + column[None, :], mask, 0.0)
        top, total, mixed = fold(scores, value, top, total, mixed, compute)
    store_split(top, total, mixed, parts, logs, item * group, group, split, splits, value_rank, rows, columns)


@dataclass(frozen=True)
class _Latents:
    """``keys`` and ``values``: ``[batch, tokens, latents, rank]``; ``rebuild``: ``[latents, rank, shared_by * d]``."""

    keys: torch.Tensor
    values: torch.Tensor
    rebuild: torch.Tensor

    def dense_keys(self, kv_heads: int, head_dim: int) -> torch.Tensor:
        """``[batch, kv_heads, tokens, d]``, rotated."""
        rebuilt = torch.einsum("btgr,grc->btgc", self.keys.double(), self.rebuild.double())
        keys = rebuilt.reshape(*rebuilt.shape[:2], kv_heads, head_dim).transpose(1, 2)
        return rotate(keys, _ROPE_BASE)

    def dense_values(self, shared_by: int) -> torch.Tensor:
        """``[batch, kv_heads, tokens, value rank]``."""
        return self.values.double().transpose(1, 2).repeat_interleave(shared_by, dim=1)


def _run(q: torch.Tensor, cache: _Latents, kv_heads: int, splits: Splits) -> torch.Tensor:
    batch, heads, head_dim = q.shape
    tokens, latents, rank = cache.keys.shape[1:]
    value_rank = cache.values.shape[-1]
    _lowrank_split[(batch * kv_heads, splits.count)](
        q,
        cache.keys,
        cache.rebuild,
        cache.values,
        splits.parts,
        splits.logs,
        LOG2_E / sqrt(head_dim),
        log2(_ROPE_BASE),
        tokens,
        splits.span,
        splits.count,
        kv_heads=kv_heads,
        shared_by=kv_heads // latents,
        group=heads // kv_heads,
        head_dim=head_dim,
        rank=rank,
        value_rank=value_rank,
        rows=tile_rows(heads // kv_heads),
        half_columns=triton.next_power_of_2(head_dim // 2),
        columns=triton.next_power_of_2(value_rank),
        block=_BLOCK,
        rank_block=_RANK_BLOCK,
        compute=compute_dtype(q),
        num_warps=8,
        num_stages=2,
    )
    return splits.merge()


def prepare(case: Case, source: Source) -> Trial:
    """Options: ``shared_by`` key heads of one latent (4), ``rank`` and ``value_rank`` of a latent, ``splits``."""
    batch, heads, tokens = case.size("batch"), case.size("n_q_heads"), case.size("kv_len")
    kv_heads, head_dim = case.size("n_kv_heads"), case.size("head_dim")
    shared_by, rank, value_rank = case.option("shared_by", 4), case.option("rank"), case.option("value_rank")
    dtype, latents = DTYPES[case.dtype], kv_heads // shared_by
    q = source.normal(batch, heads, head_dim, dtype=dtype)
    cache = _Latents(
        keys=source.normal(batch, tokens, latents, rank, dtype=dtype),
        values=source.normal(batch, tokens, latents, value_rank, dtype=dtype),
        rebuild=source.normal(latents, rank, shared_by * head_dim, dtype=dtype, scale=rank**-0.5),
    )
    out = torch.empty(batch, heads, value_rank, dtype=dtype, device=q.device)
    splits = plan_splits(out, batch * kv_heads, tokens, _BLOCK, source.units, case.option("splits"))
    return Trial(
        run=lambda: _run(q, cache, kv_heads, splits),
        reference=lambda: attend(
            q, cache.dense_keys(kv_heads, head_dim), cache.dense_values(shared_by), 1 / sqrt(head_dim)
        ),
        output=out,
        buffers=(q, cache.keys, cache.values, cache.rebuild, *splits.buffers),
        moved_bytes=size_bytes(q, cache.keys, cache.values, cache.rebuild) + splits.moved_bytes,
        flops=2.0 * batch * tokens * (kv_heads * rank * head_dim + heads * (head_dim + value_rank)),
    )
