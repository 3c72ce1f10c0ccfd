"""The suite of a CPU: what torch runs there, each kernel at a dozen shapes that leave the cache, within two minutes.

A dozen shapes are what a kernel model of four numbers needs to be told apart, and to be tested on shapes held out.
"""

from __future__ import annotations

from collections.abc import Iterator

from kvwall.validate.kernels.case import Case
from kvwall.validate.shapes import Shape, attention_case, grid, pairs

_GQA = Shape(32, 8, 128)
_MHA = Shape(16, 16, 64)

#: New tokens and attended ones: whole prompts, and chunks behind a prefix.
_PROMPTS = ((32, 32), (64, 64), (128, 128), (256, 256), (512, 512), (64, 1024), (256, 1024))

#: Rows of a product of 4096 x 1024 weights; the larger weights have few rows, so that one call stays short.
_ROWS = (1, 2, 4, 8, 16, 64, 256)


def cpu_cases() -> Iterator[list[Case]]:
    """Families of cases."""
    yield [Case("launch", "launch", dtype="fp32", cache="warm", options=pairs(mode="eager"))]
    yield [
        Case("memory_copy", "memory_copy", dtype="fp32", message_bytes=size, cache=cache)
        for size in (2**18, 2**19, 2**20, 2**21, 2**22, 2**23, 2**24, 2**25, 2**26, 2**28)
        for cache in ("cold", "warm")
    ]
    for dtype in ("fp32", "bf16"):
        yield list(_products(dtype))
    for dtype, most_tokens in (("fp32", 16384), ("bf16", 4096)):
        yield [
            attention_case("dense_attention", shape, batch, 1, context, dtype=dtype)
            for shape in (_GQA, _MHA)
            for batch, context in grid((1, 4, 16), (64, 256, 1024, 4096), most_tokens)
        ]
        yield [
            attention_case("dense_attention", shape, 1, queries, context, dtype=dtype)
            for shape in (_GQA, _MHA)
            for queries, context in _PROMPTS
        ]
    yield [
        attention_case("latent_attention", Shape(heads, 1, 576), batch, 1, context, dtype="fp32")
        for heads in (16, 32)
        for batch, context in grid((1, 2, 4), (256, 512, 2048), 4096)
    ]
    yield [
        attention_case("rematerialization", Shape(8, 8, 64), batch, 1, context, dtype="fp32", bits=4, width=width)
        for width in (512, 1024)
        for batch, context in grid((1, 4), (128, 256, 1024, 4096), 4096)
    ]
    yield [
        attention_case("window_scores", shape, batch, 32, context, dtype="fp32", budget=budget, window_queries=32)
        for shape in (_GQA, _MHA)
        for batch, context, budget in ((1, 512, 256), (1, 1024, 512), (1, 2048, 512), (1, 4096, 512), (4, 512, 256),
                                       (4, 1024, 512))
    ]  # fmt: skip
    yield [
        Case("host_gather", "host_gather", dtype="fp32", m=rows, k=columns)
        for rows in (64, 256, 1024, 4096)
        for columns in (256, 1024, 4096)
    ]


def _products(dtype: str) -> Iterator[Case]:
    for m in _ROWS:
        yield Case("gemm", "gemm", dtype=dtype, m=m, n=4096, k=1024)
    for m in (1, 4, 16):
        yield Case("gemm", "gemm", dtype=dtype, m=m, n=4096, k=4096)
    for m in (1, 16, 128):
        yield Case("gemm", "gemm", dtype=dtype, m=m, n=1024, k=1024)
    for side in (256, 512, 1024):
        yield Case("gemm", "gemm", dtype=dtype, m=side, n=side, k=side)
