"""Decode attention over a paged cache in 16 or 8 bits: split tokens, query heads of a group in one tile."""

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
from kvwall.validate.kernels.trial import DTYPES, Source, Trial, attend, size_bytes


@triton.jit
def _paged_split(
    q: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    table: tl.tensor,
    lengths: tl.tensor,
    parts: tl.tensor,
    logs: tl.tensor,
    scale: tl.tensor,
    kv_heads: tl.tensor,
    table_row: tl.tensor,
    table_head: tl.tensor,
    span: tl.tensor,
    splits: tl.tensor,
    group: tl.constexpr,
    head_dim: tl.constexpr,
    page: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    block: tl.constexpr,
    compute: tl.constexpr,
) -> None:
    item = tl.program_id(0)
    split = tl.program_id(1)
    sequence = item // kv_heads
    head = item % kv_heads
    row = tl.arange(0, rows)
    column = tl.arange(0, columns)
    wide = column < head_dim
    length = tl.load(lengths + sequence)
    pages = table + sequence.to(tl.int64) * table_row + head * table_head
    line = (item * group + row).to(tl.int64) * head_dim
    queries = tl.load(q + line[:, None] + column[None, :], mask=(row < group)[:, None] & wide[None, :], other=0.0)
    queries = queries.to(compute)
    top = tl.full([rows], float("-inf"), tl.float32)
    total = tl.zeros([rows], tl.float32)
    mixed = tl.zeros([rows, columns], tl.float32)
    for start in range(split * span, tl.minimum(split * span + span, length), block):
        token = start + tl.arange(0, block)
        held = token < length
        number = tl.load(pages + token // page, mask=held, other=0).to(tl.int64)
        place = ((number * page + token % page) * kv_heads + head) * head_dim
        mask = held[:, None] & wide[None, :]
        key = tl.load(keys + place[:, None] + column[None, :], mask=mask, other=0.0).to(compute)
        scores = tl.dot(queries, tl.trans(key)) * scale
        scores = tl.where(held[None, :], scores, float("-inf"))
        value = tl.load(values + place[:, None] + column[None, :], mask=mask, other=0.0).to(compute)
        top, total, mixed = fold(scores, value, top, total, mixed, compute)
    store_split(top, total, mixed, parts, logs, item * group, group, split, splits, head_dim, rows, columns)


@dataclass(frozen=True)
class PagedCache:
    """A cache in pages.

    :ivar keys: ``[pages, page, kv_heads, d]``
    :ivar table: ``[batch, pages of a sequence]``, or ``[batch, kv_heads, pages]`` where each head reads its own
    :ivar lengths: tokens attended per sequence
    """

    keys: torch.Tensor
    values: torch.Tensor
    table: torch.Tensor
    lengths: torch.Tensor

    def gathered(self, stored: torch.Tensor, tokens: int) -> torch.Tensor:
        """The first ``tokens`` of each sequence, ``[batch, kv_heads, tokens, d]``."""
        heads, page = stored.shape[2], stored.shape[1]
        table = self.table if self.table.dim() == 3 else self.table.unsqueeze(1).expand(-1, heads, -1)
        head = torch.arange(heads, device=stored.device).view(1, heads, 1, 1)
        slot = torch.arange(page, device=stored.device).view(1, 1, 1, page)
        # Few operations take 8-bit floats.
        readable = stored.half() if stored.itemsize == 1 else stored
        rows = readable[table.long().unsqueeze(-1), slot, head]
        return rows.flatten(2, 3)[:, :, :tokens]


def attend_pages(q: torch.Tensor, cache: PagedCache, splits: Splits) -> torch.Tensor:
    """Write ``splits.out`` (``[batch, q_heads, d]``) from ``q`` of the same shape."""
    batch, heads, head_dim = q.shape
    _, page, kv_heads, _ = cache.keys.shape
    per_head = cache.table.dim() == 3
    _paged_split[(batch * kv_heads, splits.count)](
        q,
        cache.keys,
        cache.values,
        cache.table,
        cache.lengths,
        splits.parts,
        splits.logs,
        LOG2_E / sqrt(head_dim),
        kv_heads,
        cache.table.stride(0),
        cache.table.stride(1) if per_head else 0,
        splits.span,
        splits.count,
        group=heads // kv_heads,
        head_dim=head_dim,
        page=page,
        rows=tile_rows(heads // kv_heads),
        columns=triton.next_power_of_2(head_dim),
        block=block_tokens(head_dim),
        compute=compute_dtype(q),
        num_warps=4,
    )
    return splits.merge()


def block_tokens(head_dim: int) -> int:
    """Tokens of a block: fewer where a token is wide, so that two blocks fit on chip."""
    return 64 if head_dim <= 128 else 32


def random_cache(case: Case, source: Source) -> PagedCache:
    """A cache of random numbers whose pages lie in random order; 8-bit numbers are stored with scale 1."""
    batch, tokens, page = case.size("batch"), case.size("kv_len"), case.option("page", 16)
    per_sequence = -(-tokens // page)
    shape = (batch * per_sequence, page, case.size("n_kv_heads"), case.size("head_dim"))
    dtype = DTYPES[case.kv_dtype or case.dtype]
    return PagedCache(
        keys=source.normal(*shape, dtype=dtype),
        values=source.normal(*shape, dtype=dtype),
        table=source.permutation(batch * per_sequence).reshape(batch, per_sequence),
        lengths=torch.full((batch,), tokens, dtype=torch.int32, device=source.device),
    )


def prepare(case: Case, source: Source) -> Trial:
    """Options: ``page`` tokens of a page (16), ``splits`` (by the number of compute units)."""
    batch, heads, tokens = case.size("batch"), case.size("n_q_heads"), case.size("kv_len")
    kv_heads, head_dim = case.size("n_kv_heads"), case.size("head_dim")
    q = source.normal(batch, heads, head_dim, dtype=DTYPES[case.dtype])
    cache = random_cache(case, source)
    items = batch * kv_heads
    splits = plan_splits(
        torch.empty_like(q), items, tokens, block_tokens(head_dim), source.units, case.option("splits")
    )
    attended = 2 * items * tokens * head_dim * cache.keys.element_size()
    return Trial(
        run=lambda: attend_pages(q, cache, splits),
        reference=lambda: attend(
            q, cache.gathered(cache.keys, tokens), cache.gathered(cache.values, tokens), 1 / sqrt(head_dim)
        ),
        output=splits.out,
        buffers=(q, cache.keys, cache.values, cache.table, *splits.buffers),
        moved_bytes=attended + size_bytes(q, cache.table) + splits.moved_bytes,
        flops=4.0 * batch * heads * tokens * head_dim,
    )
