"""SnapKV: after the prompt, keep per head the tokens that its last queries attended to most."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from kvwall.simulator.cache import Axis, Cache, CacheGroup, Tensor
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.segments import keep_at_most
from kvwall.simulator.traffic import Operator, Symbols, term
from kvwall.workloads.model_spec import ModelSpec


class SnapKv(Scheme):
    """Keep ``budget`` prompt tokens per head, chosen once by the last ``window`` queries; generated tokens all stay.

    ``layout=expanded`` is the published code, which keeps one copy per query head.
    """

    name: ClassVar[str] = "snapkv"
    title: ClassVar[str] = "one-shot eviction of prompt tokens by the attention of the last queries"
    axes: ClassVar[frozenset[Axis]] = frozenset({"tokens"})
    drops_after_prompt: ClassVar[bool] = True
    equations: ClassVar[tuple[str, ...]] = (
        "stored = read = B (min(S, budget) + t) L 2 H_kv d 2 bytes  (S prompt tokens, t generated)",
        "prefill: 2 L H_q w S d FLOP for the window's scores, and a gather of the kept tokens",
    )
    reference: ClassVar[str] = "Li et al. 2024, SnapKV, arXiv 2404.14469, section 4 and released code"
    limits: ClassVar[tuple[str, ...]] = (
        "the prefill peak falls only in engines that prefill layer by layer, not in chunked or paged ones",
        "later turns cannot recover what was dropped; a shared prefix needs its full copy kept",
        "not on latents (MLA): one latent serves all heads, so per-head keep-sets do not exist",
        "paged engines must compact the survivors before any block is freed",
    )

    budget: int = Field(1024, ge=1, le=1_000_000_000)
    window: int = Field(32, ge=1, le=65536)
    layout: Literal["grouped", "expanded"] = "grouped"

    @model_validator(mode="after")
    def _check_window(self) -> SnapKv:
        if self.window > self.budget:
            raise ValueError(f"window {self.window} exceeds budget {self.budget}")
        return self

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "one latent serves all heads, so per-head keep-sets do not exist")

    def rewrite(self, cache: Cache) -> Cache:
        """Full-attention layers keep the budget and what was generated; bounded layers are narrow already."""

        def cut(group: CacheGroup) -> CacheGroup:
            if group.kind != "full":
                return group
            tensors = tuple(self._cut(tensor, group, cache) for tensor in group.tensors)
            attended = np.minimum(group.attended - cache.generated, self.budget) + cache.generated
            return replace(group, tensors=tensors, attended=attended)

        if not cache.prefill:
            return cache.map_groups(cut)
        selections = tuple((g.index, self._selection(g, cache)) for g in cache.groups if g.kind == "full")
        return replace(cache, operators=(*cache.operators, *selections)).noting(
            "snapkv: the prefill still holds the whole prompt (chunked and paged engines)"
        )

    def _cut(self, tensor: Tensor, group: CacheGroup, cache: Cache) -> Tensor:
        kept = keep_at_most(tensor, float(self.budget), cache.generated)
        return replace(kept, heads=group.q_heads) if self.layout == "expanded" else kept

    def _selection(self, group: CacheGroup, cache: Cache) -> Operator:
        shared: Symbols = {"L": group.layers, "B": cache.batch, "S": cache.prompt}
        scores = term(
            "scores of the last queries",
            "matrix",
            "2 * L * H * w * d * B * S",
            self.reference,
            H=group.q_heads,
            w=self.window,
            d=group.head_dim,
            **shared,
        )
        read = term(
            "read keys", "hbm", "L * h * d * 2 * B * S", self.reference, h=group.kv_heads, d=group.head_dim, **shared
        )
        gather = term(
            "gather kept tokens",
            "hbm",
            "2 * L * h * c * 2 * B * min(S, k)",
            self.reference,
            compulsory=False,
            h=group.kv_heads,
            c=group.head_dim + group.value_dim,
            k=self.budget,
            **shared,
        )
        return Operator("snapkv", "choose prompt tokens", "attention", (scores, read, gather), 14 * group.layers)
