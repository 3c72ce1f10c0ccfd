"""Decode over a KIVI cache: keys in groups of tokens per channel, values in groups of channels per token.

After KIVI (arXiv 2402.02750, layout of github.com/jy-yuan/KIVI): codes in 32-bit words, packed along tokens for keys
and along channels for values, a 16-bit scale and minimum per group. The newest tokens stay in 16 bits: ``tokens mod
residual`` keys and ``residual`` values. The public code runs this in about 25 launches; here it is one, plus a merge.
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
from kvwall.validate.kernels.widen import spread_codes, spread_groups

_BLOCK = 64


@triton.jit
def _kivi_split(
    q: tl.tensor,
    key_codes: tl.tensor,
    key_scale: tl.tensor,
    key_low: tl.tensor,
    key_tail: tl.tensor,
    value_codes: tl.tensor,
    value_scale: tl.tensor,
    value_low: tl.tensor,
    value_tail: tl.tensor,
    parts: tl.tensor,
    logs: tl.tensor,
    scale: tl.tensor,
    tokens: tl.tensor,
    packed_keys: tl.tensor,
    packed_values: tl.tensor,
    span: tl.tensor,
    splits: tl.tensor,
    bits: tl.constexpr,
    group_size: tl.constexpr,
    group: tl.constexpr,
    head_dim: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    block: tl.constexpr,
    compute: tl.constexpr,
) -> None:
    per_word: tl.constexpr = 32 // bits
    item = tl.program_id(0)
    head = item.to(tl.int64)
    split = tl.program_id(1)
    row = tl.arange(0, rows)
    column = tl.arange(0, columns)
    wide = column < head_dim
    query = (item * group + row).to(tl.int64) * head_dim
    queries = tl.load(q + query[:, None] + column[None, :], mask=(row < group)[:, None] & wide[None, :], other=0.0)
    queries = queries.to(compute)
    top = tl.full([rows], float("-inf"), tl.float32)
    total = tl.zeros([rows], tl.float32)
    mixed = tl.zeros([rows, columns], tl.float32)
    word = tl.arange(0, block // per_word)
    step = tl.arange(0, block // group_size)
    wide_word = tl.arange(0, columns // per_word)
    wide_step = tl.arange(0, columns // group_size)
    for start in range(split * span, tl.minimum(split * span + span, tokens), block):
        token = start + tl.arange(0, block)
        held = token < tokens
        channel = (head * head_dim + column)[:, None]
        at = start // per_word + word
        mask = wide[:, None] & (at * per_word < packed_keys)[None, :]
        words = tl.load(key_codes + channel * (packed_keys // per_word) + at[None, :], mask, 0)
        at_step = start // group_size + step
        mask_step = wide[:, None] & (at_step * group_size < packed_keys)[None, :]
        place_step = channel * (packed_keys // group_size) + at_step[None, :]
        scales = tl.load(key_scale + place_step, mask_step, 0.0)
        lows = tl.load(key_low + place_step, mask_step, 0.0)
        recent = ((token >= packed_keys) & held)[None, :] & wide[:, None]
        place = (head * (tokens - packed_keys) + token - packed_keys)[None, :] * head_dim + column[:, None]
        key = spread_codes(words, bits) * spread_groups(scales, group_size) + spread_groups(lows, group_size)
        key += tl.load(key_tail + place, recent, 0.0).to(tl.float32)
        scores = tl.where(held[None, :], tl.dot(queries, key.to(compute)) * scale, float("-inf"))

        line = (head * packed_values + token)[:, None]
        packed = (token < packed_values)[:, None]
        mask_word = packed & (wide_word * per_word < head_dim)[None, :]
        words_v = tl.load(value_codes + line * (head_dim // per_word) + wide_word[None, :], mask_word, 0)
        mask_wide = packed & (wide_step * group_size < head_dim)[None, :]
        place_wide = line * (head_dim // group_size) + wide_step[None, :]
        scales_v = tl.load(value_scale + place_wide, mask_wide, 0.0)
        lows_v = tl.load(value_low + place_wide, mask_wide, 0.0)
        recent_v = ((token >= packed_values) & held)[:, None] & wide[None, :]
        place_v = (head * (tokens - packed_values) + token - packed_values)[:, None] * head_dim + column[None, :]
        value = spread_codes(words_v, bits) * spread_groups(scales_v, group_size) + spread_groups(lows_v, group_size)
        value += tl.load(value_tail + place_v, recent_v, 0.0).to(tl.float32)
        top, total, mixed = fold(scores, value, top, total, mixed, compute)
    store_split(top, total, mixed, parts, logs, item * group, group, split, splits, head_dim, rows, columns)


@dataclass(frozen=True)
class Packed:
    """Keys or values of all heads: packed ones first, the newest in 16 bits.

    :ivar codes: keys ``[heads, d, packed/per_word]``, values ``[heads, packed, d/per_word]``
    :ivar scale: keys ``[heads, d, packed/group]``, values ``[heads, packed, d/group]``
    :ivar tail: ``[heads, tokens - packed, d]``
    :ivar tokens: how many are packed
    """

    codes: torch.Tensor
    scale: torch.Tensor
    low: torch.Tensor
    tail: torch.Tensor
    tokens: int

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """In the order in which the kernel takes them."""
        return (self.codes, self.scale, self.low, self.tail)

    def dense(self, bits: int, group_size: int, along_tokens: bool) -> torch.Tensor:
        """``[heads, tokens, d]`` in float64."""
        codes = unpack(self.codes, bits).double()
        scale, low = (one.double().repeat_interleave(group_size, -1) for one in (self.scale, self.low))
        wide = codes * scale + low
        return torch.cat([wide.transpose(1, 2) if along_tokens else wide, self.tail.double()], dim=1)


def _random(case: Case, source: Source, packed: int, along_tokens: bool) -> Packed:
    heads, d = case.size("batch") * case.size("n_kv_heads"), case.size("head_dim")
    dtype = DTYPES[case.dtype]
    inner, outer = (packed, d) if along_tokens else (d, packed)
    groups = (heads, outer, inner // case.option("group", 32))
    return Packed(
        codes=source.words(heads, outer, inner * case.option("bits") // 32),
        scale=source.uniform(*groups, low=0.1, high=0.9, dtype=dtype),
        low=source.uniform(*groups, low=-2.0, high=0.0, dtype=dtype),
        tail=source.normal(heads, case.size("kv_len") - packed, d, dtype=dtype),
        tokens=packed,
    )


def _run(case: Case, q: torch.Tensor, keys: Packed, values: Packed, splits: Splits) -> torch.Tensor:
    batch, heads, head_dim = q.shape
    items = batch * case.size("n_kv_heads")
    group = batch * heads // items
    _kivi_split[(items, splits.count)](
        q,
        *keys.tensors,
        *values.tensors,
        splits.parts,
        splits.logs,
        LOG2_E / sqrt(head_dim),
        case.size("kv_len"),
        keys.tokens,
        values.tokens,
        splits.span,
        splits.count,
        bits=case.option("bits"),
        group_size=case.option("group", 32),
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
    """Options: ``bits`` (2 or 4), ``group`` (32) tokens or channels of a scale, ``residual`` (128), ``splits``."""
    batch, heads, tokens = case.size("batch"), case.size("n_q_heads"), case.size("kv_len")
    kv_heads, head_dim = case.size("n_kv_heads"), case.size("head_dim")
    bits, group_size, residual = case.option("bits"), case.option("group", 32), case.option("residual", 128)
    q = source.normal(batch, heads, head_dim, dtype=DTYPES[case.dtype])
    keys = _random(case, source, tokens - tokens % residual, along_tokens=True)
    values = _random(case, source, max(0, tokens - residual), along_tokens=False)
    splits = plan_splits(torch.empty_like(q), batch * kv_heads, tokens, _BLOCK, source.units, case.option("splits"))

    def reference() -> torch.Tensor:
        shape = (batch, kv_heads, tokens, head_dim)
        wide = (keys.dense(bits, group_size, True).reshape(shape), values.dense(bits, group_size, False).reshape(shape))
        return attend(q, *wide, 1 / sqrt(head_dim))

    stored = size_bytes(*keys.tensors, *values.tensors)
    return Trial(
        run=lambda: _run(case, q, keys, values, splits),
        reference=reference,
        output=splits.out,
        buffers=(q, *keys.tensors, *values.tensors, *splits.buffers),
        moved_bytes=stored + size_bytes(q) + splits.moved_bytes,
        flops=4.0 * batch * heads * tokens * head_dim,
    )
