"""Dynamic grouped-query attention: query heads follow the norms of the key heads, so that groups are uneven."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.cache import Cache, CacheGroup
from kvwall.simulator.schemes.gqa import Gqa
from kvwall.simulator.traffic import Operator, Term, term
from kvwall.workloads.model_spec import HeadAttention, ModelSpec


class Dgqa(Gqa):
    """As ``gqa``, but a key head serves as many query heads as its norm earned in training.

    ``largest`` query heads share the busiest key head (default: even groups). What is cached and read is that of
    ``gqa``. A kernel works on groups of one size, so the others are padded: ``kv_heads * largest`` query heads are
    multiplied instead of ``H_q``. The groups are fixed once trained, so a step pays nothing to form them.
    """

    name: ClassVar[str] = "dgqa"
    title: ClassVar[str] = "grouped-query attention with groups of uneven size, fixed in training"
    equations: ClassVar[tuple[str, ...]] = (
        "stored = B n L 2 kv_heads d 2 bytes, as gqa",
        "products of kv_heads * largest query heads: 2 L (kv_heads largest - H_q) (d + d_v) B n FLOP more",
    )
    reference: ClassVar[str] = "Khan et al. 2024, Beyond Uniform Query Distribution, arXiv 2408.08454, section 3"
    limits: ClassVar[tuple[str, ...]] = (
        "published for vision transformers, which keep no cache",
        "the size of the largest group is not published: the default has even groups",
    )

    largest: int | None = Field(None, ge=1, le=100_000)

    def check(self, model: ModelSpec) -> None:
        """As for even groups, and the largest group holds at least its even share."""
        super().check(model)
        for group in model.attention:
            if isinstance(group, HeadAttention) and self.largest is not None:
                even = group.q_heads // min(self.kv_heads, group.kv_heads)
                if self.largest < even:
                    raise ForbiddenError(
                        f"scheme {self.name!r} does not apply to {model.name}: a largest group of {self.largest} is "
                        f"below the even share of {even} query heads"
                    )

    def rewrite(self, cache: Cache) -> Cache:
        """The padding of uneven groups, inside decode attention."""
        fused = [
            (group.index, Operator(self.name, "uneven groups", "attention", terms))
            for group in cache.groups
            if group.kind not in {"linear", "mla"} and not cache.prefill and (terms := self._terms(group, cache))
        ]
        return replace(cache, fused=(*cache.fused, *fused)) if fused else cache

    def _terms(self, group: CacheGroup, cache: Cache) -> tuple[Term, ...]:
        """Work per layer and attended token beyond that of even groups."""
        padded = max(0, group.kv_heads * (self.largest or 0) - group.q_heads)
        if not padded:
            return ()
        pad = term(
            "pad uneven groups", "matrix", "2 * h * (k + v) * B * m", self.reference,
            h=padded, k=group.head_dim, v=group.value_dim, B=cache.batch, m=cache.query_tokens,
        )  # fmt: skip
        return (pad,)
