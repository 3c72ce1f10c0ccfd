"""Read scattered rows straight out of pinned host memory: what a sparse offload does to fetch the tokens it chose.

The kernel runs on the GPU and loads over the host link (zero copy); there is no staging buffer and no host thread.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from kvwall.validate.kernels.case import Case
from kvwall.validate.kernels.trial import DTYPES, Source, Trial, size_bytes


@triton.jit
def _gather(
    rows: tl.tensor,
    chosen: tl.tensor,
    out: tl.tensor,
    count: tl.tensor,
    width: tl.constexpr,
    columns: tl.constexpr,
    block: tl.constexpr,
) -> None:
    line = tl.program_id(0) * block + tl.arange(0, block)
    column = tl.arange(0, columns)
    row = tl.load(chosen + line, line < count, 0).to(tl.int64)
    mask = (line < count)[:, None] & (column < width)[None, :]
    taken = tl.load(rows + row[:, None] * width + column[None, :], mask, 0.0)
    tl.store(out + line.to(tl.int64)[:, None] * width + column[None, :], taken, mask)


def prepare(case: Case, source: Source) -> Trial:
    """``m`` rows of ``k`` numbers. Options: ``of`` rows that lie in host memory (8 times ``m``)."""
    chosen_rows, width, of = case.size("m"), case.size("k"), case.option("of", 8 * case.size("m"))
    host = source.host().normal(of, width, dtype=DTYPES[case.dtype])
    rows = host.pin_memory() if source.device.type == "cuda" else host
    chosen = source.permutation(of, dtype=torch.int64)[:chosen_rows].contiguous()
    out = torch.empty(chosen_rows, width, dtype=rows.dtype, device=source.device)
    columns = triton.next_power_of_2(width)
    block = max(1, 4096 // columns)

    def run() -> torch.Tensor:
        _gather[(triton.cdiv(chosen_rows, block),)](rows, chosen, out, chosen_rows, width, columns, block, num_warps=4)
        return out

    return Trial(
        run=run,
        reference=lambda: host.double()[chosen.cpu()],
        output=out,
        buffers=(chosen, out),
        moved_bytes=size_bytes(out),
        flops=0.0,
    )
