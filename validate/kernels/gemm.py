"""A matrix product through torch: 16 bits, or 8 where the device has it (scaled fp8, int8 into 32-bit integers).

``y[m, n] = x[m, k] W[k, n]``; the weight is stored transposed, as linear layers store it.
"""

from __future__ import annotations

import torch

from kvwall.validate.kernels.case import Case
from kvwall.validate.kernels.trial import DTYPES, Source, Trial, size_bytes

#: The integer product takes more than 16 rows, and multiples of 8 elsewhere.
FEWEST_INT8_ROWS = 17


def prepare(case: Case, source: Source) -> Trial:
    """Columns ``m``, ``n``, ``k``; ``dtype`` ``bf16``, ``fp16``, ``fp32``, ``fp8`` or ``int8``."""
    m, n, k = case.size("m"), case.size("n"), case.size("k")
    dtype = DTYPES[case.dtype]
    if dtype == torch.int8:
        x, weight = (source.integers(*shape, low=-127, high=128, dtype=dtype) for shape in ((m, k), (n, k)))
        out = torch.empty(m, n, dtype=torch.int32, device=source.device)
    else:
        x, weight = source.normal(m, k, dtype=dtype), source.normal(n, k, dtype=dtype)
        out = torch.empty(m, n, dtype=torch.bfloat16 if dtype.itemsize == 1 else dtype, device=source.device)
    one = torch.ones((), dtype=torch.float32, device=source.device)

    def run() -> torch.Tensor:
        if dtype == torch.int8:
            return torch._int_mm(x, weight.t(), out=out)
        if dtype.itemsize == 1:
            return torch._scaled_mm(x, weight.t(), one, one, out_dtype=out.dtype, out=out)
        return torch.matmul(x, weight.t(), out=out)

    return Trial(
        run=run,
        reference=lambda: x.double() @ weight.double().t(),
        output=out,
        buffers=(x, weight, out),
        moved_bytes=size_bytes(x, weight, out),
        flops=2.0 * m * n * k,
    )
