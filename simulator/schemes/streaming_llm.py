"""StreamingLLM: the first few tokens and the newest ones, everything between dropped."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import Axis, Cache, CacheGroup
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.simulator.segments import keep_at_most
from kvwall.workloads.model_spec import ModelSpec


class StreamingLlm(Scheme):
    """Keep ``sinks`` first and ``window`` newest tokens of every layer; positions are renumbered in the cache."""

    name: ClassVar[str] = "streaming_llm"
    title: ClassVar[str] = "attention sinks and a window of recent tokens"
    axes: ClassVar[frozenset[Axis]] = frozenset({"tokens"})
    equations: ClassVar[tuple[str, ...]] = ("stored = read = B min(n, sinks + window) L 2 H_kv d 2 bytes",)
    reference: ClassVar[str] = "Xiao et al. 2023, StreamingLLM, arXiv 2309.17453"
    limits: ClassVar[tuple[str, ...]] = ("what lies between the sinks and the window is lost for good",)

    sinks: int = Field(4, ge=0, le=1_000_000)
    window: int = Field(1020, ge=1, le=1_000_000_000)

    def check(self, model: ModelSpec) -> None:
        """Any architecture that caches tokens."""
        forbid_no_tokens(self, model)

    def rewrite(self, cache: Cache) -> Cache:
        """Every layer that is not narrower already keeps ``sinks + window`` tokens."""
        budget = float(self.sinks + self.window)

        def cut(group: CacheGroup) -> CacheGroup:
            if group.kind == "linear":
                return group
            tensors = tuple(keep_at_most(tensor, budget) for tensor in group.tensors)
            return replace(group, tensors=tensors, attended=np.minimum(group.attended, budget))

        return cache.map_groups(cut).noting("streaming_llm: keys are rotated in the attention kernel, at no bytes")
