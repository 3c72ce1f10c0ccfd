"""StreamingLLM: the first few tokens and the newest ones, everything between dropped."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import Axis, Cache, CacheGroup
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.simulator.segments import keep_at_most
from kvwall.simulator.traffic import Numeric, Operator, term
from kvwall.workloads.model_spec import ModelSpec

#: Roles whose channels carry a rotary position.
_ROTATED = frozenset({"key", "rope key"})


class StreamingLlm(Scheme):
    """Keep ``sinks`` first and ``window`` newest tokens of every layer; positions are renumbered in the cache.

    Defaults are four sinks and 1,024 tokens in all. Renumbering means that keys lie unrotated and every kept one is
    rotated at each step once something was dropped: inside the kernel (``rotate=fused``), by a kernel of its own that
    reads and writes them (``rewrite``), or not at all (``none``: positions keep their gap, as in kvpress by default).
    """

    name: ClassVar[str] = "streaming_llm"
    title: ClassVar[str] = "attention sinks and a window of recent tokens"
    axes: ClassVar[frozenset[Axis]] = frozenset({"tokens"})
    equations: ClassVar[tuple[str, ...]] = (
        "k = sinks + window,  stored = read = B min(n, k) L 2 H_kv d 2 bytes",
        "rotate=fused: 3 L H_kv d k B FLOP once n > k;  rotate=rewrite: 2 L H_kv d k B 2 bytes on top",
    )
    reference: ClassVar[str] = "Xiao et al. 2023, StreamingLLM, arXiv 2309.17453"
    limits: ClassVar[tuple[str, ...]] = (
        "what lies between the sinks and the window is lost for good",
        "the published 22 times are against a window that is computed anew for every token, not against a cache",
    )

    sinks: int = Field(4, ge=0, le=1_000_000)
    window: int = Field(1020, ge=1, le=1_000_000_000)
    rotate: Literal["fused", "rewrite", "none"] = "fused"

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

        kept = cache.map_groups(cut)
        if cache.prefill or self.rotate == "none":
            return kept
        rotations = tuple(
            (new.index, self._rotation(new, cache, np.where(old.attended > budget, new.attended, 0.0)))
            for old, new in zip(cache.groups, kept.groups, strict=True)
            if new.kind != "linear"
        )
        return replace(kept, operators=(*kept.operators, *rotations)).noting(
            "streaming_llm: keys are rotated in the attention kernel, at no bytes"
            if self.rotate == "fused"
            else "streaming_llm: a kernel of its own rotates the keys of every step"
        )

    def _rotation(self, group: CacheGroup, cache: Cache, tokens: Numeric) -> Operator:
        """Two multiplications and an addition a channel; in a kernel of its own the keys are moved as well."""
        width = sum(tensor.elements for tensor in group.tensors if tensor.role in _ROTATED)
        turn = term("rotate keys", "vector", "3 * L * e * k * B", self.reference, compulsory=False, L=group.layers,
                    e=width, k=tokens, B=cache.batch)  # fmt: skip
        if self.rotate == "fused":
            return Operator(self.name, "rotate kept keys", "attention", (turn,))
        moved = term("move keys", "hbm", "2 * 2 * L * e * k * B", self.reference, L=group.layers, e=width, k=tokens,
                     B=cache.batch)  # fmt: skip
        launches = np.where(np.asarray(tokens) > 0, group.layers, 0.0)
        return Operator(self.name, "rotate kept keys", "elementwise", (moved, turn), launches)
