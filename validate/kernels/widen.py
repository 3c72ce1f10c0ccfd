"""Packed numbers to wide ones inside a kernel: each word and each scale is loaded once, then spread over them."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def spread_codes(words: tl.tensor, bits: tl.constexpr) -> tl.tensor:
    """Codes of ``bits`` bits out of 32-bit ``words`` (``[a, b]``), lowest first, as floats ``[a, b * 32/bits]``."""
    per_word: tl.constexpr = 32 // bits
    largest: tl.constexpr = 2**bits - 1
    shifts = tl.arange(0, per_word) * bits
    codes = (words[:, :, None] >> shifts[None, None, :]) & largest
    return tl.reshape(codes, [words.shape[0], words.shape[1] * per_word]).to(tl.float32)


@triton.jit
def spread_groups(one: tl.tensor, group: tl.constexpr) -> tl.tensor:
    """Each number of ``one`` (``[a, b]``) repeated ``group`` times, as floats ``[a, b * group]``."""
    wide = tl.broadcast_to(one[:, :, None], [one.shape[0], one.shape[1], group])
    return tl.reshape(wide, [one.shape[0], one.shape[1] * group]).to(tl.float32)
