"""Quest: keep everything, read only the pages whose bounds promise the largest scores."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import Axis, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.segments import read_at_most
from kvwall.simulator.traffic import Numeric, Operator, Symbols, term
from kvwall.workloads.model_spec import ModelSpec


class Quest(Scheme):
    """Per page of ``page`` tokens keep the least and largest key of each channel; read the best ``budget`` tokens.

    The first ``dense_layers`` read everything. ``share=group`` picks pages once per KV head; ``share=head`` lets every
    query head pick its own, in the worst case all different.
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
                    operators.append((group.index, self._choice(sparse, cache)))
        return replace(cache, groups=tuple(groups), operators=(*cache.operators, *operators))

    def _tokens(self, group: CacheGroup) -> Numeric:
        return sum((s.stored for s in group.tensors[0].segments), start=np.float64(0.0))

    def _pages_read(self, group: CacheGroup) -> Numeric:
        """Pages whose bounds a step scores: none while the budget holds everything."""
        tokens = self._tokens(group)
        return np.where(tokens > self.budget, np.ceil(tokens / self.page), 0.0)

    def _with_bounds(self, group: CacheGroup, read: Numeric) -> CacheGroup:
        segment = Segment("pages", stored=np.ceil(self._tokens(group) / self.page), read=read)
        bounds = Tensor("page bounds", group.kv_heads, 2 * group.head_dim, (segment,), owner=self.name)
        return replace(group, tensors=(*group.tensors, bounds))

    def _sparse(self, group: CacheGroup, cache: Cache) -> CacheGroup:
        if cache.prefill:
            return self._with_bounds(group, np.float64(0.0))
        heads = group.q_heads / group.kv_heads if self.share == "head" else 1.0
        tensors = tuple(read_at_most(tensor, self.budget * heads) for tensor in group.tensors)
        attended = np.minimum(group.attended, self.budget)
        chosen = replace(group, tensors=tensors, attended=attended, reads_known=False)
        return self._with_bounds(chosen, self._pages_read(group))

    def _choice(self, group: CacheGroup, cache: Cache) -> Operator:
        """What choosing takes beyond reading and scoring the bounds, which attention counts with its other reads."""
        pages = self._pages_read(group)
        shape: Symbols = {"L": group.layers, "H": group.q_heads, "B": cache.batch, "m": cache.query_tokens, "p": pages}
        top_k = term(
            "move page scores", "hbm", "12 * L * H * B * m * p", "fp32 scores, written once and read twice (estimate)",
            compulsory=False, **shape,
        )  # fmt: skip
        launches = np.where(pages > 0, 2.0 * group.layers, 0.0)
        return Operator("quest", "choose pages", "attention", (top_k,), launches)
