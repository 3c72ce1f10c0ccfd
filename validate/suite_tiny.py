"""The suite ``tiny``: every pattern once, in a second or two. It proves the tool, not a device."""

from __future__ import annotations

from collections.abc import Iterator

from kvwall.validate.kernels.case import Case
from kvwall.validate.shapes import Shape, attention_case, pairs

_HEADS, _LATENT = Shape(4, 2, 64), Shape(4, 1, 576)


def tiny_cases(device: str) -> Iterator[Case]:
    """One case of each pattern that needs one device, ``cuda`` or ``cpu``."""
    dtype = "bf16" if device == "cuda" else "fp32"
    yield Case("launch", "launch", dtype=dtype, cache="warm", options=pairs(mode="eager"))
    for cache in ("cold", "warm"):
        yield Case("memory_copy", "memory_copy", dtype=dtype, message_bytes=2**20, cache=cache)
    yield Case("gemm", "gemm", dtype=dtype, m=32, n=64, k=128)
    for queries, context in ((1, 256), (64, 64), (16, 64)):
        yield attention_case("dense_attention", _HEADS, 2, queries, context, dtype=dtype)
    yield attention_case("latent_attention", _LATENT, 2, 1, 256, dtype=dtype)
    yield attention_case("rematerialization", _HEADS, 2, 1, 256, dtype=dtype, bits=4, width=256)
    yield attention_case("window_scores", _HEADS, 2, 16, 256, dtype=dtype, budget=64, window_queries=16)
    yield Case("host_gather", "host_gather", dtype=dtype, m=32, k=128)
    yield Case("host_copy", "host_copy", dtype="int8", message_bytes=2**16, options=pairs(direction="h2d"))
    yield attention_case("paged_decode", _HEADS, 2, 1, 256, page=16)
    yield attention_case("token_int4_decode", _HEADS, 2, 1, 256, kv_dtype="int4")
    yield attention_case("kivi_decode", _HEADS, 2, 1, 256, kv_dtype="kivi2", bits=2)
    yield attention_case("lowrank_decode", _HEADS, 2, 1, 256, rank=64, value_rank=64, shared_by=2)
    yield attention_case("mla_decode", _LATENT, 2, 1, 256)
    yield attention_case("page_selection", _HEADS, 2, 1, 256, page=16, budget=64)
    yield Case("quantize_append", "quantize", "kvwall", kv_dtype="int4", m=16, k=256, options=pairs(bits=4))
    yield Case("host_rows", "host_gather", "kvwall", m=32, k=128, cache="warm")
