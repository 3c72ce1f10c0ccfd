"""SnapKV: after the prompt, keep per head the tokens that its last queries attended to most."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from kvwall.simulator.cache import Cache, CacheGroup
from kvwall.simulator.eviction import CHOICE_LAUNCHES, Eviction, window_scores
from kvwall.simulator.traffic import Numeric, Operator


class SnapKv(Eviction):
    """Keep ``budget`` prompt tokens per head, chosen once by the last ``window`` queries; generated tokens all stay.

    The budget is the smallest of the paper's long-context tables (1024, 2048, 4096), the window that of its code (32).
    ``layout=expanded`` is the published code, which keeps one copy per query head, ``prefill=layerwise`` its engine:
    each layer is cut after its prefill, so that the prompt's peak is ``(L - 1) k + S`` tokens of one layer.
    """

    name: ClassVar[str] = "snapkv"
    title: ClassVar[str] = "one-shot eviction of prompt tokens by the attention of the last queries"
    equations: ClassVar[tuple[str, ...]] = (
        "stored = read = B (min(S, budget) + t) L 2 H_kv d 2 bytes  (S prompt tokens, t generated)",
        "while a prompt is prefilled: B S L 2 H_kv d 2 bytes, layer by layer B ((L - 1) budget + S) 2 H_kv d 2",
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

    def kept(self, stored: Numeric, cache: Cache) -> Numeric:
        """``min(S, budget)`` of the prompt, and everything generated."""
        return np.minimum(stored - cache.generated, self.budget) + cache.generated

    def cut(self, group: CacheGroup, cache: Cache) -> CacheGroup:
        """The survivors, once per KV head or (``expanded``) once per query head."""
        kept = super().cut(group, cache)
        if self.layout == "grouped" or group.kind != "full":
            return kept
        return replace(kept, tensors=tuple(replace(tensor, heads=group.q_heads) for tensor in kept.tensors))

    def choice(self, group: CacheGroup, cache: Cache) -> Operator:
        """The window's scores and the gather; none for a prompt within the budget."""
        chosen = np.where(cache.prompt > self.budget, 1.0, 0.0)
        terms = (*window_scores(group, cache, self.window, chosen, self.reference), self.gather(group, cache, chosen))
        return Operator(self.name, "choose prompt tokens", "attention", terms, CHOICE_LAUNCHES * group.layers * chosen)
