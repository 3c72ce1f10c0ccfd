"""What every split decode kernel shares: the running softmax, its partial results, and the kernel that merges them.

The tokens of a sequence are cut into splits, one program each (Flash-Decoding). A program leaves a normalised partial
result and the base-2 logarithm of its sum; the merge weighs partial results by those sums. The query heads that share
a key head are rows of one tile, so that a key is read once for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

from kvwall.validate.kernels.trial import size_bytes

#: log2(e): the kernels take powers of two.
LOG2_E = 1.4426950408889634

_MOST_SPLITS = 128
#: A matrix unit takes tiles of at least this many rows.
_FEWEST_ROWS = 16
_COMPUTE = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}


@triton.jit
def fold(
    scores: tl.tensor, values: tl.tensor, top: tl.tensor, total: tl.tensor, mixed: tl.tensor, compute: tl.constexpr
) -> tl.tensor:
    """One more block of tokens into the running maximum, sum and mixture of values."""
    new_top = tl.maximum(top, tl.max(scores, 1))
    # A row that has seen no token has the maximum -inf, and -inf minus -inf is not a number.
    base = tl.where(new_top == float("-inf"), 0.0, new_top)
    weights = tl.exp2(scores - base[:, None])
    decay = tl.exp2(top - base)
    total = total * decay + tl.sum(weights, 1)
    mixed = mixed * decay[:, None] + tl.dot(weights.to(compute), values.to(compute))
    return new_top, total, mixed


@triton.jit
def store_split(
    top: tl.tensor,
    total: tl.tensor,
    mixed: tl.tensor,
    parts: tl.tensor,
    logs: tl.tensor,
    first_row: tl.tensor,
    rows_left: tl.tensor,
    split: tl.tensor,
    splits: tl.tensor,
    width: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    """The result of one split of the query heads from ``first_row``."""
    row = tl.arange(0, rows)
    column = tl.arange(0, columns)
    place = (first_row + row).to(tl.int64) * splits + split
    inside = row < rows_left
    some = tl.where(total > 0, total, 1.0)
    mask = inside[:, None] & (column < width)[None, :]
    tl.store(parts + place[:, None] * width + column[None, :], mixed / some[:, None], mask=mask)
    tl.store(logs + place, tl.where(total > 0, top + tl.log2(some), float("-inf")), mask=inside)


@triton.jit
def _merge(
    parts: tl.tensor,
    logs: tl.tensor,
    out: tl.tensor,
    splits: tl.tensor,
    padded: tl.constexpr,
    width: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    split = tl.arange(0, padded)
    column = tl.arange(0, columns)
    inside = column < width
    top = tl.max(tl.load(logs + row * splits + split, mask=split < splits, other=float("-inf")), 0)
    mixed = tl.zeros([columns], tl.float32)
    total = 0.0
    for one in range(splits):
        weight = tl.exp2(tl.load(logs + row * splits + one) - top)
        part = tl.load(parts + (row * splits + one) * width + column, mask=inside, other=0.0)
        mixed += weight * part
        total += weight
    tl.store(out + row * width + column, mixed / total, mask=inside)


@dataclass(frozen=True)
class Splits:
    """Buffers for the partial results of one call.

    :ivar count: splits of a sequence
    :ivar span: tokens of a split, a multiple of the block
    :ivar parts: ``[rows, count, width]`` in fp32, or the output itself when there is one split
    """

    count: int
    span: int
    parts: torch.Tensor
    logs: torch.Tensor
    out: torch.Tensor

    def merge(self) -> torch.Tensor:
        """The output, written from the partial results."""
        if self.count == 1:
            return self.out
        rows, width = self.logs.shape[0], int(self.out.shape[-1])
        padded, columns = triton.next_power_of_2(self.count), triton.next_power_of_2(width)
        _merge[(rows,)](self.parts, self.logs, self.out, self.count, padded, width, columns, num_warps=4)
        return self.out

    @property
    def buffers(self) -> tuple[torch.Tensor, ...]:
        """What the call writes besides its inputs."""
        return (self.logs, self.out) if self.count == 1 else (self.parts, self.logs, self.out)

    @property
    def moved_bytes(self) -> int:
        """Compulsory traffic of the result: the workspace is a choice of the kernel and is not counted."""
        return size_bytes(self.out)


def plan_splits(out: torch.Tensor, items: int, tokens: int, block: int, units: int, wanted: int = 0) -> Splits:
    """Enough splits for two programs on every compute unit, each with at least two blocks of tokens.

    :param out: ``[batch, heads, width]``
    :param items: independent programs before splitting
    :param wanted: so many splits instead, as far as the tokens reach
    """
    blocks = triton.cdiv(tokens, block)
    most = min(_MOST_SPLITS, blocks if wanted else max(1, blocks // 2))
    asked = min(most, wanted or max(1, triton.cdiv(2 * units, items)))
    span = triton.cdiv(blocks, asked) * block
    count = int(triton.cdiv(tokens, span))
    rows, width = int(out.shape[0] * out.shape[1]), int(out.shape[2])
    logs = torch.empty(rows, count, dtype=torch.float32, device=out.device)
    parts = out if count == 1 else torch.empty(rows, count, width, dtype=torch.float32, device=out.device)
    return Splits(count, span, parts, logs, out)


def tile_rows(group: int, most: int = 64) -> int:
    """Rows of a tile for ``group`` query heads."""
    return int(min(most, max(_FEWEST_ROWS, triton.next_power_of_2(group))))


def compute_dtype(tensor: torch.Tensor) -> Any:
    """What a kernel multiplies in: the dtype of ``tensor``, but for bf16 off the GPU, which the interpreter lacks."""
    if tensor.dtype == torch.bfloat16 and tensor.device.type == "cpu":
        return tl.float32
    return _COMPUTE[tensor.dtype]
