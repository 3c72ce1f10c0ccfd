"""Quantise the keys or values of new tokens and append them to a packed cache, in one pass.

One program per token and head: smallest and largest number of the row, codes of ``bits`` bits in 32-bit words, a
16-bit scale and minimum, all written to the slot of the token.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from kvwall.validate.kernels.case import Case
from kvwall.validate.kernels.trial import DTYPES, Source, Trial, size_bytes, unpack


@triton.jit
def _append(
    rows: tl.tensor,
    slots: tl.tensor,
    codes: tl.tensor,
    scales: tl.tensor,
    lows: tl.tensor,
    heads: tl.tensor,
    head_dim: tl.constexpr,
    bits: tl.constexpr,
    words: tl.constexpr,
) -> None:
    per_word: tl.constexpr = 32 // bits
    largest: tl.constexpr = 2**bits - 1
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    word = tl.arange(0, words)
    part = tl.arange(0, per_word)
    place = word[:, None] * per_word + part[None, :]
    inside = place < head_dim
    row = tl.load(rows + (token * heads + head) * head_dim + place, inside, 0.0).to(tl.float32)
    low = tl.min(tl.min(tl.where(inside, row, float("inf")), 1), 0)
    high = tl.max(tl.max(tl.where(inside, row, float("-inf")), 1), 0)
    # The stored, rounded pair is what a reader multiplies with, so the codes are made for it.
    low = low.to(scales.dtype.element_ty).to(tl.float32)
    step = ((high - low) / largest).to(scales.dtype.element_ty).to(tl.float32)
    code = tl.floor((row - low) / tl.where(step > 0, step, 1.0) + 0.5)
    code = tl.minimum(tl.maximum(code, 0.0), largest).to(tl.int32)
    slot = tl.load(slots + token).to(tl.int64) * heads + head
    packed = tl.sum(tl.where(inside, code << (part * bits)[None, :], 0), 1)
    tl.store(codes + slot * (head_dim // per_word) + word, packed, word < head_dim // per_word)
    tl.store(scales + slot, step)
    tl.store(lows + slot, low)


def quantize_rows(rows: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes, scale and minimum of ``rows`` (``[..., d]``) in float64, scale and minimum rounded to 16 bits first."""
    wide = rows.double()
    low = wide.amin(-1).half().double()
    step = ((wide.amax(-1) - low) / (2**bits - 1)).half().double()
    safe = torch.where(step > 0, step, 1.0)
    codes = torch.floor((wide - low.unsqueeze(-1)) / safe.unsqueeze(-1) + 0.5).clamp(0, 2**bits - 1)
    return codes, step, low


def prepare(case: Case, source: Source) -> Trial:
    """``m`` tokens of ``k`` channels. Options: ``bits`` (4), ``head_dim`` (128), ``capacity`` slots (4 times ``m``)."""
    tokens, bits, head_dim = case.size("m"), case.option("bits", 4), case.option("head_dim", 128)
    heads = case.size("k") // head_dim
    capacity = case.option("capacity", 4 * tokens)
    per_word = 32 // bits
    rows = source.normal(tokens, heads, head_dim, dtype=DTYPES[case.dtype])
    slots = source.permutation(capacity, dtype=torch.int64)[:tokens].contiguous()
    codes = torch.zeros(capacity, heads, head_dim // per_word, dtype=torch.int32, device=source.device)
    scales, lows = (torch.zeros(capacity, heads, dtype=torch.float16, device=source.device) for _ in range(2))
    words = triton.next_power_of_2(head_dim // per_word)

    def run() -> torch.Tensor:
        _append[(tokens, heads)](rows, slots, codes, scales, lows, heads, head_dim, bits, words, num_warps=1)
        return codes

    def reference() -> torch.Tensor:
        made, step, _ = quantize_rows(rows, bits)
        expected = unpack(codes, bits).double()
        expected[slots] = made
        # A number on the edge between two codes may take either: both are half a step from it.
        wide = (rows.double() - lows[slots].double().unsqueeze(-1)) / step.unsqueeze(-1).clamp_min(1e-30)
        edge = (wide - torch.floor(wide) - 0.5).abs() < 1e-3
        found = unpack(codes, bits).double()[slots]
        expected[slots] = torch.where(edge & ((found - made).abs() <= 1), found, made)
        shifts = 2.0 ** torch.arange(0, 32, bits, dtype=torch.float64, device=rows.device)
        words_of = (expected.unflatten(-1, (-1, per_word)) * shifts).sum(-1)
        return torch.where(words_of >= 2.0**31, words_of - 2.0**32, words_of)

    written = tokens * heads * (head_dim * bits // 8 + 4)
    return Trial(
        run=run,
        reference=reference,
        output=codes,
        buffers=(rows, slots, codes, scales, lows),
        moved_bytes=size_bytes(rows, slots) + written,
        flops=6.0 * rows.numel(),
    )
