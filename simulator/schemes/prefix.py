"""Prefix sharing: tokens that all sequences have in common are stored once."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import CONTENT_ROLES, Axis, Cache, CacheGroup, Tensor
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.simulator.sharing import cascaded, share_oldest
from kvwall.workloads.model_spec import ModelSpec


class Prefix(Scheme):
    """The first ``tokens`` tokens are the same in every sequence and kept once; a prefill computes only the rest.

    ``cascade`` reads the shared part once per batch in decode; without it every sequence reads it by itself.
    """

    name: ClassVar[str] = "prefix"
    title: ClassVar[str] = "a prefix shared by all sequences, stored once and not prefilled again"
    axes: ClassVar[frozenset[Axis]] = frozenset({"sequences"})
    equations: ClassVar[tuple[str, ...]] = (
        "h = page * floor(min(tokens, n - 1) / page)",
        "stored = h kv + B (n - h) kv,  read = B n kv  (cascade: h kv + B (n - h) kv)",
        "after an eviction that keeps k tokens: stored = h kv + B k kv",
        "prefill computes n - h tokens over n",
    )
    reference: ClassVar[str] = "Kwon et al. 2023, arXiv 2309.06180, section 4.4; Zheng et al. 2023, arXiv 2312.07104"
    limits: ClassVar[tuple[str, ...]] = (
        "reads are shared only by a cascade kernel",
        "a recurrent state is not shared unless its snapshot at the prefix's end is kept",
    )

    tokens: int = Field(1024, ge=0, le=1_000_000_000)
    page: int = Field(16, ge=1, le=4096)
    cascade: bool = False

    def check(self, model: ModelSpec) -> None:
        """Any architecture that caches tokens."""
        forbid_no_tokens(self, model)

    def rewrite(self, cache: Cache) -> Cache:
        """The oldest tokens of every layer that still holds them are shared."""
        last = np.maximum(cache.context - 1, 0)
        hit = self.page * np.floor(np.minimum(self.tokens, last) / self.page)
        # What an eviction keeps depends on the sequence: the whole prefix stays once beside the private remains.
        evicted = any(axis == "tokens" for axis, _ in cache.claims)
        nothing = np.float64(0.0)

        def share(group: CacheGroup, tensor: Tensor) -> Tensor:
            if group.kind in {"sliding", "chunked", "linear"}:
                return tensor
            if evicted:
                whole = replace(tensor.segments[0], label="shared prefix", stored=hit / cache.resident, read=nothing)
                return replace(tensor, segments=(whole, *tensor.segments))
            return share_oldest(tensor, hit, cache.resident, cache.batch if self.cascade else 1.0)

        shared = replace(cache.map_tensors(share, CONTENT_ROLES), shared_prefix=hit)
        if self.cascade:
            shared = cascaded(shared, self.name)
        if cache.prefill:
            shared = replace(shared, query_tokens=np.minimum(cache.query_tokens, cache.context - hit))
        return shared
