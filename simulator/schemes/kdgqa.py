"""Key-driven grouped-query attention: groups follow the norms of the keys at hand, in every pass."""

from __future__ import annotations

from typing import ClassVar

from kvwall.simulator.cache import Cache, CacheGroup
from kvwall.simulator.schemes.dgqa import Dgqa
from kvwall.simulator.traffic import Term, term


class Kdgqa(Dgqa):
    """As ``dgqa``, with groups formed anew in every pass from the norms of all keys of the context.

    The norms are computed of the keys that attention reads anyway: a square and a sum per channel.
    """

    name: ClassVar[str] = "kdgqa"
    title: ClassVar[str] = "grouped-query attention with groups formed from the keys of the context in every pass"
    equations: ClassVar[tuple[str, ...]] = (
        *Dgqa.equations,
        "key norms: 2 L kv_heads d B n FLOP on the vector unit",
    )

    def _terms(self, group: CacheGroup, cache: Cache) -> tuple[Term, ...]:
        norms = term(
            "norms of keys", "vector", "2 * H * d * B", self.reference,
            H=group.kv_heads, d=group.head_dim, B=cache.batch,
        )  # fmt: skip
        return (norms, *super()._terms(group, cache))
