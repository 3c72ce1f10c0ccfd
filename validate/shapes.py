"""Shapes of attention, and the cases made from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from kvwall.validate.kernels.case import TRITON_PATTERNS, Case


@dataclass(frozen=True)
class Shape:
    """Heads of one layer on one device."""

    q_heads: int
    kv_heads: int
    head_dim: int


def grid(batches: Iterable[int], contexts: Iterable[int], most_tokens: int) -> Iterator[tuple[int, int]]:
    """Batch and context of every combination that holds at most ``most_tokens``."""
    return ((batch, context) for batch, context in product(batches, contexts) if batch * context <= most_tokens)


def pairs(**options: str | int) -> tuple[tuple[str, str | int], ...]:
    """Options of a case."""
    return tuple(options.items())


_KERNELS = {
    "latent_attention": "mla_decode",
    "lowrank_decode": "lowrank_decode",
    "mla_decode": "mla_decode",
    "page_selection": "sparse_decode",
    "rematerialization": "rematerialize",
    "window_scores": "evict",
}


def attention_case(
    pattern: str,
    shape: Shape,
    batch: int,
    q_len: int,
    kv_len: int,
    *,
    dtype: str = "bf16",
    kv_dtype: str | None = None,
    cache: str = "cold",
    framework: str | None = None,
    **options: str | int,
) -> Case:
    """A case of ``pattern``; whose kernel it is follows from the pattern unless ``framework`` says so."""
    return Case(
        pattern=pattern,
        kernel=_KERNELS.get(pattern, "decode_attention" if q_len == 1 else "prefill_attention"),
        framework=framework or ("kvwall" if pattern in TRITON_PATTERNS else "torch"),
        dtype=dtype,
        kv_dtype=kv_dtype or dtype,
        batch=batch,
        q_len=q_len,
        kv_len=kv_len,
        n_q_heads=shape.q_heads,
        n_kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        window=0,
        cache=cache,
        options=pairs(**options),
    )
