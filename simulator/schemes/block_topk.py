"""Block top-k (Kinetics): keep everything, read the blocks whose mean key scores best, one choice per KV head."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import Axis, Cache, CacheGroup, Tensor
from kvwall.simulator.page_choice import reading_chosen, stored_tokens, top_pages, with_index
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.traffic import Numeric, Operator, term
from kvwall.workloads.model_spec import ModelSpec


class BlockTopK(Scheme):
    """Per block of ``page`` tokens keep the mean of its keys; read the best ``budget`` tokens.

    Query heads of one KV head add their scores and share a choice. Defaults are those of the published benchmark
    scripts: 64 blocks of 16 tokens. ``page=balanced`` is the block at which index and chosen tokens weigh the same,
    ``n / (2 budget)``, chosen anew for each context.
    """

    name: ClassVar[str] = "block_topk"
    title: ClassVar[str] = "reads the blocks whose mean key scores best; nothing is dropped"
    axes: ClassVar[frozenset[Axis]] = frozenset({"reads"})
    equations: ClassVar[tuple[str, ...]] = (
        "stored = dense + B L ceil(n / page) H_kv d 2 bytes of mean keys",
        "read = B L (ceil(n / page) H_kv d 2 + budget 2 H_kv d 2)  (all n if n <= budget)",
        "2 H_q d FLOP per block and a top-k of n / page scores per KV head and layer",
    )
    reference: ClassVar[str] = "Sadhukhan et al. 2025, Kinetics, arXiv 2506.05333, section 5 and released code"
    limits: ClassVar[tuple[str, ...]] = (
        "the capacity does not grow: everything stays stored, with the mean keys on top",
        "contexts up to the budget gain nothing",
        "which blocks are read is known only after the query, so a copy from the host cannot be prefetched",
    )

    page: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["balanced"] = 16
    budget: int = Field(1024, ge=1, le=1_000_000_000)

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "mean keys are defined on per-head keys")

    def rewrite(self, cache: Cache) -> Cache:
        """Full-attention layers get mean keys and read chosen blocks only."""
        groups: list[CacheGroup] = []
        operators: list[tuple[int, Operator]] = []
        for group in cache.groups:
            if group.kind != "full":
                groups.append(group)
                continue
            blocks = self._blocks(stored_tokens(group))
            scored = np.where(stored_tokens(group) > self.budget, blocks, 0.0)
            means = Tensor("landmark", group.kv_heads, group.head_dim, (), owner=self.name)
            if cache.prefill:
                groups.append(with_index(group, means, blocks, np.float64(0.0)))
                continue
            groups.append(with_index(reading_chosen(group, self.budget), means, blocks, scored))
            operators.append((group.index, self._choice(group, cache, scored)))
        return replace(cache, groups=tuple(groups), operators=(*cache.operators, *operators))

    def _blocks(self, tokens: Numeric) -> Numeric:
        """Blocks that hold ``tokens`` tokens."""
        page: Numeric = np.maximum(1.0, tokens / (2 * self.budget)) if self.page == "balanced" else float(self.page)
        return np.ceil(tokens / page)

    def _choice(self, group: CacheGroup, cache: Cache, blocks: Numeric) -> Operator:
        scores = term(
            "score blocks", "matrix", "2 * L * H * d * B * m * p", self.reference, L=group.layers, H=group.q_heads,
            d=group.head_dim, B=cache.batch, m=cache.query_tokens, p=blocks,
        )  # fmt: skip
        choice = top_pages(self.name, group, cache, group.kv_heads, blocks)
        return replace(choice, terms=(scores, *choice.terms))
