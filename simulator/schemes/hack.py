"""HACK and HACK++: budgets by the role of a head, apart for what a step attends to and for what is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from kvwall.simulator.cache import Axis, Cache, CacheGroup
from kvwall.simulator.scheme import Scheme
from kvwall.simulator.traffic import Numeric, Operator, Symbols, term
from kvwall.simulator.visual import cached_tokens, forbid_text, gather, keeping
from kvwall.workloads.model_spec import ModelSpec


class Hack(Scheme):
    """Heads keep ``budget`` tokens on the mean and a query attends to at most ``attend`` tokens.

    ``contextual`` is the part of the heads whose attention falls on a few global tokens; they keep
    ``contextual_budget`` (by default as many as the others), structural heads the rest of the mean. Defaults are those
    of HACK++ on Infinity-8B: 10 % of the 10,521 tokens of all scales kept, 30 % attended; HACK has one budget for both.
    Contextual heads are scored by ``queries`` sampled queries (an assumption), structural ones by a fixed prior.
    """

    name: ClassVar[str] = "hack"
    title: ClassVar[str] = "budgets by head role for visual models, of the cache and of attention"
    axes: ClassVar[frozenset[Axis]] = frozenset({"tokens"})
    equations: ClassVar[tuple[str, ...]] = (
        "k = h_c min(n, b_c) + (1 - h_c) min(n, b_s),  b_s = (budget - h_c b_c) / (1 - h_c)",
        "stored = 2 B k L C (4 + 2) bytes  (guidance doubles the batch, keys in fp32)",
        "a scale of m tokens attends to min(k + m, attend); scores take 2 h_c H q d (k + m) FLOP a layer",
    )
    reference: ClassVar[str] = "Qin et al. 2025, HACK, arXiv 2504.09261; HACK++, arXiv 2606.08302"
    limits: ClassVar[tuple[str, ...]] = (
        "percentages of the papers are of all scales, the last included",
        "roles of heads come from a calibration; their parts and budgets are not published for every model",
        "published savings of memory count the weights as well",
    )

    budget: int = Field(1052, ge=1, le=100_000_000)
    attend: int = Field(3156, ge=1, le=100_000_000)
    contextual: float = Field(0.5, ge=0, lt=1)
    contextual_budget: int | None = Field(None, ge=0, le=100_000_000)
    queries: int = Field(16, ge=0, le=65536)

    @model_validator(mode="after")
    def _check_budgets(self) -> Hack:
        if self._structural < 0:
            raise ValueError(f"contextual_budget {self.contextual_budget} leaves nothing of budget {self.budget}")
        if self.attend < self.budget:
            raise ValueError(f"attend {self.attend} is below budget {self.budget}")
        return self

    @property
    def _contextual(self) -> float:
        return float(self.budget if self.contextual_budget is None else self.contextual_budget)

    @property
    def _structural(self) -> float:
        return (self.budget - self.contextual * self._contextual) / (1 - self.contextual)

    def check(self, model: ModelSpec) -> None:
        """Visual models only."""
        forbid_text(self, model)

    def rewrite(self, cache: Cache) -> Cache:
        """Every layer keeps the mean of its heads' budgets."""
        groups = tuple(self._kept(group) for group in cache.groups)
        cut = replace(cache, groups=groups)
        if cache.prefill:
            return cut
        choices = tuple(
            (new.index, self._choice(new, cache, self._chosen(old, cache)))
            for old, new in zip(cache.groups, groups, strict=True)
        )
        return replace(cut, operators=(*cache.operators, *choices))

    def _chosen(self, group: CacheGroup, cache: Cache) -> Numeric:
        """1 where the scale outgrows the budget, so that a choice is made."""
        return np.where(cached_tokens(group) + cache.query_tokens > self.budget, 1.0, 0.0)

    def _kept(self, group: CacheGroup) -> CacheGroup:
        seen, part = cached_tokens(group), self.contextual
        mean: Numeric = part * np.minimum(seen, self._contextual) + (1 - part) * np.minimum(seen, self._structural)
        kept = keeping(group, mean)
        return replace(kept, attended=np.minimum(kept.attended, self.attend))

    def _choice(self, group: CacheGroup, cache: Cache, chosen: Numeric) -> Operator:
        shape: Symbols = {"L": group.layers, "B": cache.batch, "x": chosen}
        terms = (
            term("scores of sampled queries", "matrix", "2 * L * c * H * d * q * n * B * x", self.reference,
                 c=self.contextual, H=group.q_heads, d=group.head_dim, q=self.queries,
                 n=cached_tokens(group) + cache.query_tokens, **shape),
            gather(group, cache, chosen, self.reference),
        )  # fmt: skip
        return Operator(self.name, "choose tokens of a scale", "attention", terms, 8.0 * group.layers * chosen)
