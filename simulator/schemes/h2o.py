"""H2O: keep the heaviest hitters of accumulated attention and the newest tokens, and evict at every step."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import Cache, CacheGroup
from kvwall.simulator.eviction import CHOICE_LAUNCHES, Eviction
from kvwall.simulator.traffic import Numeric, Operator, Symbols, Term, term


class H2o(Eviction):
    """Per head ``heavy * S`` tokens of largest accumulated attention and ``recent * S`` newest ones (S prompt tokens).

    Defaults are the paper's 20 % (10 % heavy, 10 % recent). ``evict=always`` drops the lightest token at every step
    (``--hh-all`` of the published code); ``evict=prompt``, its default, only cuts the prompt and lets the answer grow.
    The sums need every attention weight of a prompt, which fused attention never writes down: ``scores=pass`` runs the
    products once more, ``scores=eager`` is attention that keeps the S x S weights in memory.
    """

    name: ClassVar[str] = "h2o"
    title: ClassVar[str] = "heavy hitters of accumulated attention and recent tokens; evicts while it generates"
    equations: ClassVar[tuple[str, ...]] = (
        "k = floor(heavy S) + floor(recent S),  stored = read = B min(n, k) L 2 H_kv d 2 bytes",
        "evict=prompt: stored = B (min(S, k) + t) L 2 H_kv d 2 bytes  (t generated)",
        "accumulated scores: B L H_kv k 2 bytes, read and written at every step",
        "prefill: L H_q d S^2 FLOP for the products once more (eager: 10 B L H_q S^2 bytes)",
    )
    reference: ClassVar[str] = "Zhang et al. 2023, H2O, arXiv 2306.14048, section 4 and released code"
    limits: ClassVar[tuple[str, ...]] = (
        "fused attention does not give the weights that are summed: the prefill pays for them again",
        "grouped heads share one set (the mean of the group); the published models have one KV head per query head",
        "later turns cannot recover what was dropped; a shared prefix needs its full copy kept",
        "paged engines free no block while one of its tokens survives in some head",
    )

    heavy: float = Field(0.1, ge=0, le=1)
    recent: float = Field(0.1, ge=0, le=1)
    evict: Literal["always", "prompt"] = "always"
    scores: Literal["pass", "eager"] = "pass"

    def kept(self, stored: Numeric, cache: Cache) -> Numeric:
        """The budget, at least one token; with the answer on top where only the prompt is cut."""
        budget: Numeric = np.maximum(1.0, np.floor(self.heavy * cache.prompt) + np.floor(self.recent * cache.prompt))
        if self.evict == "always":
            return np.minimum(stored, budget)
        return np.minimum(stored - cache.generated, budget) + cache.generated

    def rewrite(self, cache: Cache) -> Cache:
        """The survivors; while it evicts, the accumulated scores of every head lie beside them."""
        kept = super().rewrite(cache)
        if cache.prefill or self.evict == "prompt":
            return kept
        updates = tuple((g.index, self._update(g, cache)) for g in kept.groups if g.kind == "full")
        sums: Numeric = sum(
            (2.0 * g.layers * g.kv_heads * g.attended for g in kept.groups if g.kind == "full"), start=np.float64(0.0)
        )
        return replace(kept, operators=(*kept.operators, *updates), workspace=kept.workspace + sums)

    def _update(self, group: CacheGroup, cache: Cache) -> Operator:
        """Add a step's weights to the 16-bit sums, find the lightest token and overwrite its slot."""
        shape: Symbols = {"L": group.layers, "h": group.kv_heads, "B": cache.batch, "k": group.attended}
        terms = (
            term("accumulated scores", "hbm", "4 * L * h * k * B", self.reference, **shape),
            term("add and find the lightest", "vector", "2 * L * h * k * B", self.reference, **shape),
        )
        return Operator(self.name, "update scores", "attention", terms, 5.0 * group.layers)

    def choice(self, group: CacheGroup, cache: Cache) -> Operator:
        """Column sums of the whole prompt's attention weights, and the gather."""
        q, n = cache.query_tokens, cache.context
        shape: Symbols = {"L": group.layers, "H": group.q_heads, "B": cache.batch}
        pairs = q * (n - q) + q * (q + 1) / 2
        if self.scores == "eager":
            scores: tuple[Term, ...] = (
                term("move attention weights", "hbm", "10 * L * H * B * q * n",
                     "16-bit scores and weights: written twice, read by softmax, product and sum", q=q, n=n, **shape),
            )  # fmt: skip
        else:
            scores = (
                term("scores once more", "matrix", "2 * L * H * d * B * P", self.reference, d=group.head_dim, P=pairs,
                     **shape),
                term("softmax and column sums", "vector", "6 * L * H * B * P", self.reference, compulsory=False,
                     P=pairs, **shape),
                term("read keys", "hbm", "L * h * d * 2 * B * n", self.reference, L=group.layers, h=group.kv_heads,
                     d=group.head_dim, B=cache.batch, n=n),
            )  # fmt: skip
        terms = (*scores, self.gather(group, cache))
        return Operator(self.name, "sum attention weights", "attention", terms, CHOICE_LAUNCHES * group.layers)
