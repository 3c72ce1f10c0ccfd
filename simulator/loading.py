"""Keys and values that a prefill loads from a tier instead of computing them."""

from __future__ import annotations

from kvwall.simulator.cache import CONTENT_ROLES, Cache, CacheGroup, Place, Tensor
from kvwall.simulator.traffic import Numeric, Operator, Resource, Stream, Term, term


def load_operators(
    cache: Cache, tokens: Numeric, place: Place, owner: str, reference: str, layerwise: bool
) -> list[tuple[int, Operator]]:
    """The copies of ``tokens`` tokens of each sequence from ``place`` to the device.

    Layer by layer, the load of a layer runs beside the computation of the one before, and only the first is waited
    for; otherwise the computation waits for all of it.
    """
    made: list[tuple[int, Operator]] = []
    waited = 1.0 if layerwise else float("inf")
    for group in cache.groups:
        first = min(waited, group.layers) if _content(group) else 0.0
        waited -= first
        parts: tuple[tuple[float, Stream], ...] = ((first, "compute"), (group.layers - first, "copy in"))
        for layers, stream in parts:
            terms = _copies(group, cache, tokens, layers, "load", "host link in", reference) if layers else ()
            if terms and place == "ssd":
                terms += _copies(group, cache, tokens, layers, "read from SSD", "ssd", reference)
            if terms:
                made.append((group.index, Operator(owner, "load known tokens", "copy", terms, layers, stream)))
    return made


def store_operators(cache: Cache, tokens: Numeric, owner: str, reference: str) -> list[tuple[int, Operator]]:
    """Copies of ``tokens`` new tokens of each sequence to the host, beside the computation."""
    made: list[tuple[int, Operator]] = []
    for group in cache.groups:
        terms = _copies(group, cache, tokens, group.layers, "store", "host link out", reference)
        if terms:
            made.append((group.index, Operator(owner, "store new tokens", "copy", terms, group.layers, "copy out")))
    return made


def _copies(
    group: CacheGroup, cache: Cache, tokens: Numeric, layers: float, verb: str, resource: Resource, reference: str
) -> tuple[Term, ...]:
    """A term for each tensor that attention reads, over ``layers`` layers."""
    return tuple(
        term(f"{verb} {tensor.role}", resource, "L * e * b / 8 * B * n", reference,
             L=layers, e=tensor.elements, b=tensor.segments[0].bits.effective, B=cache.batch, n=tokens)
        for tensor in _content(group)
    )  # fmt: skip


def _content(group: CacheGroup) -> list[Tensor]:
    return [tensor for tensor in group.tensors if tensor.role in CONTENT_ROLES]
