"""Decode over a cache in 4-bit integers with one scale and minimum per token and head.

The cache of Atom (arXiv 2310.19102): asymmetric, keys and values alike, no window in 16 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
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
from kvwall.validate.kernels.trial import DTYPES, Source, Trial, attend, size_bytes, unpack
from kvwall.validate.kernels.widen import spread_codes

_BLOCK = 64


@triton.jit
def _wide(
    codes: tl.tensor,
    scale: tl.tensor,
    low: tl.tensor,
    place: tl.tensor,
    held: tl.tensor,
    head_dim: tl.constexpr,
    columns: tl.constexpr,
) -> tl.tensor:
    """A block of tokens in fp32; numbers past the head or the sequence are not zero."""
    word = tl.arange(0, columns // 8)
    mask = held[:, None] & (word * 8 < head_dim)[None, :]
    words = tl.load(codes + place[:, None] * (head_dim // 8) + word[None, :], mask, 0)
    step = tl.load(scale + place, held, 0.0).to(tl.float32)
    start = tl.load(low + place, held, 0.0).to(tl.float32)
    return spread_codes(words, 4) * step[:, None] + start[:, None]


@triton.jit
def _int4_split(
    q: tl.tensor,
    key_codes: tl.tensor,
    key_scale: tl.tensor,
    key_low: tl.tensor,
    value_codes: tl.tensor,
    value_scale: tl.tensor,
    value_low: tl.tensor,
    parts: tl.tensor,
    logs: tl.tensor,
    scale: tl.tensor,
    tokens: tl.tensor,
    span: tl.tensor,
    splits: tl.tensor,
    group: tl.constexpr,
    head_dim: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    block: tl.constexpr,
    compute: tl.constexpr,
) -> None:
    item = tl.program_id(0)
    split = tl.program_id(1)
    row = tl.arange(0, rows)
    column = tl.arange(0, columns)
    line = (item * group + row).to(tl.int64) * head_dim
    inside = (row < group)[:, None] & (column < head_dim)[None, :]
    queries = tl.load(q + line[:, None] + column[None, :], mask=inside, other=0.0).to(compute)
    top = tl.full([rows], float("-inf"), tl.float32)
    total = tl.zeros([rows], tl.float32)
    mixed = tl.zeros([rows, columns], tl.float32)
    for start in range(split * span, tl.minimum(split * span + span, tokens), block):
        token = start + tl.arange(0, block)
        held = token < tokens
        place = item.to(tl.int64) * tokens + token
        key = _wide(key_codes, key_scale, key_low, place, held, head_dim, columns).to(compute)
        scores = tl.where(held[None, :], tl.dot(queries, tl.trans(key)) * scale, float("-inf"))
        value = _wide(value_codes, value_scale, value_low, place, held, head_dim, columns)
        top, total, mixed = fold(scores, value, top, total, mixed, compute)
    store_split(top, total, mixed, parts, logs, item * group, group, split, splits, head_dim, rows, columns)


@dataclass(frozen=True)
class _Rows:
    """Keys or values: codes ``[heads, tokens, d/8]``, scale and minimum ``[heads, tokens]``."""

    codes: torch.Tensor
    scale: torch.Tensor
    low: torch.Tensor

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        return (self.codes, self.scale, self.low)

    def dense(self) -> torch.Tensor:
        wide: torch.Tensor = unpack(self.codes, 4) * self.scale.double().unsqueeze(-1)
        return wide + self.low.double().unsqueeze(-1)


def _random(heads: int, tokens: int, head_dim: int, source: Source) -> _Rows:
    return _Rows(
        codes=source.words(heads, tokens, head_dim // 8),
        scale=source.uniform(heads, tokens, low=0.1, high=0.3, dtype=torch.float16),
        low=source.uniform(heads, tokens, low=-2.0, high=-1.0, dtype=torch.float16),
    )


def _run(q: torch.Tensor, keys: _Rows, values: _Rows, splits: Splits) -> torch.Tensor:
    items, tokens = keys.scale.shape
    head_dim = q.shape[-1]
    group = q.shape[0] * q.shape[1] // items
    _int4_split[(items, splits.count)](
        q,
        *keys.tensors,
        *values.tensors,
        splits.parts,
        splits.logs,
        LOG2_E / sqrt(head_dim),
        tokens,
        splits.span,
        splits.count,
        group=group,
        head_dim=head_dim,
        rows=tile_rows(group),
        columns=triton.next_power_of_2(head_dim),
        block=_BLOCK,
        compute=compute_dtype(q),
        num_warps=4,
        num_stages=2,
    )
    return splits.merge()


def prepare(case: Case, source: Source) -> Trial:
    """Options: ``splits``."""
    batch, heads, tokens = case.size("batch"), case.size("n_q_heads"), case.size("kv_len")
    kv_heads, head_dim = case.size("n_kv_heads"), case.size("head_dim")
    items = batch * kv_heads
    q = source.normal(batch, heads, head_dim, dtype=DTYPES[case.dtype])
    keys, values = (_random(items, tokens, head_dim, source) for _ in range(2))
    splits = plan_splits(torch.empty_like(q), items, tokens, _BLOCK, source.units, case.option("splits"))

    def reference() -> torch.Tensor:
        shape = (batch, kv_heads, tokens, head_dim)
        return attend(q, keys.dense().reshape(shape), values.dense().reshape(shape), 1 / sqrt(head_dim))

    stored = size_bytes(*keys.tensors, *values.tensors)
    return Trial(
        run=lambda: _run(q, keys, values, splits),
        reference=reference,
        output=splits.out,
        buffers=(q, *keys.tensors, *values.tensors, *splits.buffers),
        moved_bytes=stored + size_bytes(q) + splits.moved_bytes,
        flops=4.0 * batch * heads * tokens * head_dim,
    )
