"""The suite of a CPU: what torch runs there, at sizes that leave the cache, within two minutes."""

from __future__ import annotations

from collections.abc import Iterator

from kvwall.validate.kernels.case import Case
from kvwall.validate.shapes import Shape, attention_case, grid, pairs

_GQA = Shape(32, 8, 128)
_MHA = Shape(16, 16, 64)


def cpu_cases() -> Iterator[list[Case]]:
    """Families of cases."""
    yield [Case("launch", "launch", dtype="fp32", cache="warm", options=pairs(mode="eager"))]
    yield [
        Case("memory_copy", "memory_copy", dtype="fp32", message_bytes=size, cache=cache)
        for size in (2**20, 2**24, 2**26, 2**28)
        for cache in ("cold", "warm")
    ]
    yield [
        Case("gemm", "gemm", dtype=dtype, m=m, n=n, k=k)
        for dtype in ("fp32", "bf16")
        for m, n, k in ((1, 4096, 4096), (4, 4096, 4096), (16, 4096, 4096), (64, 4096, 1024), (512, 512, 512))
    ]
    yield [
        attention_case("dense_attention", shape, batch, 1, context, dtype="fp32")
        for shape in (_GQA, _MHA)
        for batch, context in grid((1, 4, 16), (256, 1024, 4096), 16384)
    ]
    yield [
        attention_case("dense_attention", shape, 1, queries, context, dtype="fp32")
        for shape in (_GQA, _MHA)
        for queries, context in ((128, 128), (512, 512), (64, 1024), (256, 1024))
    ]
    yield [
        attention_case("latent_attention", Shape(16, 1, 576), batch, 1, context, dtype="fp32")
        for batch, context in grid((1, 4), (512, 2048), 8192)
    ]
    yield [
        attention_case("rematerialization", Shape(8, 8, 64), 1, 1, context, dtype="fp32", bits=4, width=512)
        for context in (256, 1024, 4096)
    ]
    yield [
        attention_case("window_scores", _GQA, 1, 32, context, dtype="fp32", budget=512, window_queries=32)
        for context in (1024, 4096)
    ]
    yield [Case("host_gather", "host_gather", dtype="fp32", m=rows, k=1024) for rows in (64, 1024, 8192)]
