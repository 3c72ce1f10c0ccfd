"""Keys that are cached before their rotary embedding: the attention kernel rotates each of them at every step."""

from __future__ import annotations

from kvwall.simulator.cache import Cache
from kvwall.simulator.traffic import Operator, term


def rotated_keys(cache: Cache, owner: str, reference: str) -> tuple[tuple[int, Operator], ...]:
    """Work per layer and attended token: two products and a sum per channel, 3 FLOP, once per KV head.

    The sines and cosines of a position serve all heads of a token and are not counted. A prefill rotates its keys as
    always.
    """
    if cache.prefill:
        return ()
    made: dict[int, Operator] = {}
    for group in (g for g in cache.groups if any(t.role == "key" for t in g.tensors)):
        rotate = term(
            "rotate cached keys",
            "vector",
            "3 * H * d * B",
            reference,
            H=group.kv_heads,
            d=group.head_dim,
            B=cache.batch,
        )
        made[group.index] = Operator(owner, "rotate cached keys", "attention", (rotate,))
    return tuple(made.items())
