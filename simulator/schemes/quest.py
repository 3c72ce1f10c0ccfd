"""Quest: keep everything, read only the pages whose bounds promise the largest scores."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import Axis, Cache, CacheGroup, Tensor
from kvwall.simulator.page_choice import reading_chosen, stored_tokens, top_pages, with_index
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.traffic import Numeric, Operator
from kvwall.workloads.model_spec import ModelSpec


class Quest(Scheme):
    """Per page of ``page`` tokens keep the least and largest key of each channel; read the best ``budget`` tokens.

    The first ``dense_layers`` read everything. ``share=group`` picks pages once per KV head; ``share=head`` lets every
    query head pick its own, in the worst case all different. Defaults are the paper's headline setting: pages of 16, a
    budget of 2,048 tokens (the last page included), two dense layers.
    """

    name: ClassVar[str] = "quest"
    title: ClassVar[str] = "query-aware choice of the pages to read; nothing is dropped"
    axes: ClassVar[frozenset[Axis]] = frozenset({"reads"})
    equations: ClassVar[tuple[str, ...]] = (
        "stored = dense + B L ceil(n / page) 2 H_kv d 2 bytes of page bounds",
        "read = B L_dense n kv + B (L - L_dense) (ceil(n / page) 2 H_kv d 2 + budget kv)  (all n if n <= budget)",
        "4 H_q d FLOP per page and a top-k of n / page scores per layer",
    )
    reference: ClassVar[str] = "Tang et al. 2024, Quest, arXiv 2406.10774, section 3 and released code"
    limits: ClassVar[tuple[str, ...]] = (
        "the capacity does not grow: everything stays stored, with the bounds on top",
        "contexts up to the budget gain nothing",
        "which pages are read is known only after the query, so a copy from the host cannot be prefetched",
    )

    page: int = Field(16, ge=1, le=4096)
    budget: int = Field(2048, ge=1, le=1_000_000_000)
    dense_layers: int = Field(2, ge=0, le=10_000)
    share: Literal["group", "head"] = "group"

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "page bounds are defined on per-head keys")

    def rewrite(self, cache: Cache) -> Cache:
        """Full-attention layers get page bounds, and all but the first few read only chosen pages."""
        left = float(self.dense_layers)
        groups: list[CacheGroup] = []
        operators: list[tuple[int, Operator]] = []
        for group in cache.groups:
            if group.kind != "full":
                groups.append(group)
                continue
            dense = min(left, group.layers)
            left -= dense
            if dense:
                groups.append(self._with_bounds(replace(group, layers=dense), np.float64(0.0)))
            if group.layers > dense:
                sparse = self._sparse(replace(group, layers=group.layers - dense), cache)
                groups.append(sparse)
                if not cache.prefill:
                    choice = top_pages(self.name, sparse, cache, group.q_heads, self._pages_read(sparse))
                    operators.append((group.index, choice))
        return replace(cache, groups=tuple(groups), operators=(*cache.operators, *operators))

    def _pages_read(self, group: CacheGroup) -> Numeric:
        """Pages whose bounds a step scores: none while the budget holds everything."""
        tokens = stored_tokens(group)
        return np.where(tokens > self.budget, np.ceil(tokens / self.page), 0.0)

    def _with_bounds(self, group: CacheGroup, read: Numeric) -> CacheGroup:
        bounds = Tensor("page bounds", group.kv_heads, 2 * group.head_dim, (), owner=self.name)
        return with_index(group, bounds, np.ceil(stored_tokens(group) / self.page), read)

    def _sparse(self, group: CacheGroup, cache: Cache) -> CacheGroup:
        if cache.prefill:
            return self._with_bounds(group, np.float64(0.0))
        sets = group.q_heads / group.kv_heads if self.share == "head" else 1.0
        return self._with_bounds(reading_chosen(group, self.budget, sets), self._pages_read(group))
