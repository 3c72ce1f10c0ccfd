"""Tiers behind the device: known chunks of a prompt are loaded from host memory or drives instead of prefilled."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import Axis, Cache
from kvwall.simulator.loading import load_operators, store_operators
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.simulator.traffic import Operator
from kvwall.workloads.model_spec import ModelSpec


class Tiered(Scheme):
    """Of each prompt the first ``hit`` part is found in the tier, in whole chunks, and ``load`` of it is loaded.

    The rest is prefilled as ever; with ``load=auto`` pricing decides what is loaded and what is computed again.
    Defaults are those of LMCache 0.5: chunks of 256 tokens in host memory, partial chunks not stored, the load waited
    for as a whole (``layerwise=true`` hides all but the first layer), every new chunk copied out once.
    """

    name: ClassVar[str] = "tiered"
    title: ClassVar[str] = "known chunks of a prompt loaded from host memory or drives, not prefilled"
    axes: ClassVar[frozenset[Axis]] = frozenset({"sequences"})
    equations: ClassVar[tuple[str, ...]] = (
        "h = chunk * floor(load * min(hit * n, n - 1) / chunk)",
        "prefill computes n - h tokens over n and loads h kv over the host link (and from drives)",
        "every whole new chunk goes out once: chunk * floor((n - h) / chunk) kv",
        "worth loading where kv / BW < seconds of prefill per token",
    )
    reference: ClassVar[str] = "LMCache 0.5, released code; Cheng et al. 2025, LMCache, arXiv 2510.09665"
    limits: ClassVar[tuple[str, ...]] = (
        "helps the time to the first token only: decode reads the whole context from the device",
        "what share of prompts is known is a property of the workload",
        "a recurrent state is not in the tier",
    )

    to: Literal["host", "ssd"] = "host"
    hit: float = Field(1.0, ge=0, le=1)
    load: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = 1.0
    chunk: int = Field(256, ge=1, le=1_000_000)
    layerwise: bool = False
    write_back: bool = True

    def check(self, model: ModelSpec) -> None:
        """Any architecture that caches tokens."""
        forbid_no_tokens(self, model)

    def rewrite(self, cache: Cache) -> Cache:
        """A prefill computes what is not loaded; a decode step is left alone."""
        if not cache.prefill:
            return cache
        part = 1.0 if self.load == "auto" else self.load
        known = np.minimum(self.hit * cache.context, np.maximum(cache.context - 1, 0))
        loaded = self.chunk * np.floor(part * known / self.chunk)
        new = np.minimum(cache.query_tokens, cache.context - loaded)
        operators: list[tuple[int, Operator]] = []
        if part * self.hit:
            operators += load_operators(cache, loaded, self.to, self.name, self.reference, self.layerwise)
        if self.write_back:
            whole = self.chunk * np.floor(new / self.chunk)
            operators += store_operators(cache, whole, self.name, self.reference)
        return replace(cache, query_tokens=new, operators=(*cache.operators, *operators))
