"""The suite of one GPU: each family spans launch-bound, between and bandwidth- or compute-bound."""

from __future__ import annotations

from collections.abc import Iterator

from kvwall.validate.environment import Environment
from kvwall.validate.kernels.case import Case
from kvwall.validate.shapes import Shape, attention_case, grid, pairs

#: Llama-3.1-8B on one device, Llama-2-7B, Llama-3.1-70B over eight, Qwen2.5-0.5B, and a wide head (Gemma).
_GQA, _MHA, _MQA = Shape(32, 8, 128), Shape(32, 32, 128), Shape(8, 1, 128)
_NARROW, _WIDE = Shape(14, 2, 64), Shape(16, 8, 256)

_BATCHES = (1, 4, 16, 64, 256)
_CONTEXTS = (128, 512, 2048, 8192, 32768, 131072)
#: Most tokens of a case: 4 GiB of 16-bit keys and values at the shape of Llama-3.1-8B.
_MOST_TOKENS = 2**20

#: Features of the projections of Llama-3.1-8B and of one of eight ranks of Llama-3.1-70B.
_LINEARS = ((6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336), (1280, 8192), (8192, 1024))


def gpu_families(here: Environment) -> Iterator[list[Case]]:
    """Families of cases for the GPU of ``here``; collectives where there are several, libraries where installed."""
    yield [Case("launch", "launch", cache="warm", options=pairs(mode=mode)) for mode in ("graph", "eager")]
    yield list(_copies())
    yield list(_products(float(here.capability)))
    yield list(_torch_attention())
    yield list(_own_decode(float(here.capability)))
    yield list(_compressed_decode())
    yield list(_latent_decode())
    yield list(_selection())
    yield list(_host_link())
    yield list(_collectives(here.count))
    for framework in here.libraries:
        yield list(_library(framework))


def _copies() -> Iterator[Case]:
    for size in (2**20, 2**22, 2**24, 2**26, 2**28, 2**30, 2**32):
        yield Case("memory_copy", "memory_copy", message_bytes=size)
    for size in (2**20, 2**22, 2**24, 2**26):
        yield Case("memory_copy", "memory_copy", message_bytes=size, cache="warm")


def _products(capability: float) -> Iterator[Case]:
    for n, k in _LINEARS:
        for m in (1, 4, 16, 64, 256, 2048):
            yield Case("gemm", "gemm", m=m, n=n, k=k)
    for side in (1024, 2048, 4096, 8192):
        yield Case("gemm", "gemm", m=side, n=side, k=side)
    for m in (16, 64, 512, 4096):
        for n, k in _LINEARS[:3]:
            if capability >= 8.9:
                yield Case("gemm", "gemm", dtype="fp8", m=m, n=n, k=k)
            yield Case("gemm", "gemm", dtype="int8", m=max(m, 32), n=n, k=k)


def _torch_attention() -> Iterator[Case]:
    for shape in (_GQA, _MHA):
        for batch, context in grid((1, 8, 64), (512, 4096, 32768), 2**18):
            yield attention_case("dense_attention", shape, batch, 1, context)
    for shape, lengths in (
        (_GQA, (128, 512, 1024, 2048, 4096, 8192, 16384)),
        (_NARROW, (512, 4096)),
        (_WIDE, (1024, 4096)),
    ):
        for length in lengths:
            yield attention_case("dense_attention", shape, 1, length, length)
    for batch, length in ((8, 512), (8, 2048), (32, 256)):
        yield attention_case("dense_attention", _GQA, batch, length, length)
    for queries, context in ((16, 4096), (128, 4096), (512, 4096), (128, 32768), (2048, 32768)):
        yield attention_case("dense_attention", _GQA, 1, queries, context)


def _own_decode(capability: float) -> Iterator[Case]:
    for batch, context in grid(_BATCHES, _CONTEXTS, _MOST_TOKENS):
        yield attention_case("paged_decode", _GQA, batch, 1, context, page=16)
    for shape in (_MHA, _MQA, _NARROW, _WIDE):
        for batch, context in grid((1, 16, 128), (512, 4096, 32768), 2**18):
            yield attention_case("paged_decode", shape, batch, 1, context, page=16)
    for batch, context in grid((1, 16), (128, 512, 2048, 8192), 2**15):
        yield attention_case("paged_decode", _GQA, batch, 1, context, cache="warm", page=16)
    if capability >= 8.9:
        for shape in (_GQA, _WIDE):
            for batch, context in grid((1, 16, 64), (512, 4096, 32768), 2**20):
                yield attention_case("paged_decode", shape, batch, 1, context, kv_dtype="fp8", page=16)


def _compressed_decode() -> Iterator[Case]:
    for shape in (_GQA, _MHA):
        for batch, context in grid((1, 8, 64), (512, 4096, 32768), 2**18):
            for bits in (2, 4):
                yield attention_case(
                    "kivi_decode", shape, batch, 1, context, dtype="fp16", kv_dtype=f"kivi{bits}", bits=bits
                )
            yield attention_case("token_int4_decode", shape, batch, 1, context, dtype="fp16", kv_dtype="int4")
    for batch, context in grid((1, 8), (1024, 8192, 32768), 2**16):
        yield attention_case(
            "lowrank_decode", _MHA, batch, 1, context, dtype="fp16", shared_by=4, rank=256, value_rank=256
        )
        yield attention_case(
            "lowrank_decode", _GQA, batch, 1, context, dtype="fp16", shared_by=4, rank=256, value_rank=256
        )
    for batch, context in grid((1, 4), (1024, 4096, 16384), 2**14):
        yield attention_case("rematerialization", _MHA, batch, 1, context, bits=4, width=4096)
        yield attention_case("rematerialization", _GQA, batch, 1, context, bits=4, width=1024)
    for tokens in (1, 16, 256, 8192):
        for bits in (2, 4, 8):
            yield Case(
                "quantize_append", "quantize", "kvwall", kv_dtype=f"int{bits}", m=tokens, k=1024,
                options=pairs(bits=bits, head_dim=128),
            )  # fmt: skip


def _latent_decode() -> Iterator[Case]:
    for heads in (16, 128):
        for batch, context in grid((1, 16, 128), (512, 4096, 32768), 2**20):
            yield attention_case("mla_decode", Shape(heads, 1, 576), batch, 1, context)
    for batch, context in grid((1, 16), (512, 4096, 32768), 2**17):
        yield attention_case("latent_attention", Shape(128, 1, 576), batch, 1, context)


def _selection() -> Iterator[Case]:
    for batch, context in grid((1, 4, 16), (8192, 32768, 131072), 2**18):
        for budget in (1024, 4096):
            yield attention_case("page_selection", _GQA, batch, 1, context, page=16, budget=budget)
    for batch, context in grid((1, 4), (4096, 16384, 32768), 2**16):
        yield attention_case("window_scores", _GQA, batch, 32, context, budget=1024, window_queries=32)


def _host_link() -> Iterator[Case]:
    for direction in ("h2d", "d2h"):
        for size in (2**12, 2**16, 2**20, 2**24, 2**28):
            for memory in ("pinned", "pageable"):
                yield Case(
                    "host_copy", "host_copy", dtype="int8", message_bytes=size, cache="warm",
                    options=pairs(direction=direction, memory=memory),
                )  # fmt: skip
    for rows in (64, 1024, 16384):
        yield Case("host_rows", "host_gather", "kvwall", m=rows, k=1024, cache="warm")
        yield Case("host_gather", "host_gather", m=rows, k=1024, cache="warm")


def _collectives(gpus: int) -> Iterator[Case]:
    # The sizes stand here again because the pattern imports torch.
    for ranks in (2, 4, 8):
        if ranks <= gpus:
            for size in (4096, 65536, 524288, 1048576, 4194304, 16777216, 67108864, 268435456):
                yield Case("all_reduce", "all_reduce", "nccl", num_gpus=ranks, message_bytes=size, cache="warm")


def _library(framework: str) -> Iterator[Case]:
    for batch, context in grid((1, 16, 64), (512, 4096, 32768), 2**19):
        yield attention_case("libraries", _GQA, batch, 1, context, framework=framework)
    for length in (512, 2048, 8192):
        yield attention_case("libraries", _GQA, 1, length, length, framework=framework)
    yield attention_case("libraries", _GQA, 1, 512, 8192, framework=framework)
