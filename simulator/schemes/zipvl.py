"""ZipVL: a layer's important tokens by probes; prefill attention runs over them alone; the others shrink or go."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import Axis, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.schemes.zipcache import ZipCache
from kvwall.simulator.traffic import Numeric


class ZipVL(ZipCache):
    """As ``zipcache``, but that attention of a prompt runs over its important tokens, as queries and as keys.

    ``important`` is the mean over layers of what a share tau of the attention mass takes (about 0.96 to 0.985 of it):
    an input here. ``version=1`` keeps the others in ``low`` bits; ``version=2``, of the paper's second form, drops them
    and keeps the important ones in 16 bits. Projections and the feed-forward network still see every token. Probes are
    128 queries, half of them the newest.
    """

    name: ClassVar[str] = "zipvl"
    title: ClassVar[str] = "important tokens by layer: sparse prefill attention, the others at 2 bits or dropped"
    equations: ClassVar[tuple[str, ...]] = (
        "version 1: as zipcache; version 2: stored = read = B p n L 2 H_kv d 2 bytes",
        "prefill attention: 4 L H_q d (p n)^2 / 2 FLOP instead of 4 L H_q d n^2 / 2",
        "probes: 2 L H_q d probes n FLOP and their fp32 scores",
    )
    reference: ClassVar[str] = "He et al. 2024, ZipVL, arXiv 2410.08584 (versions 1 and 2), sections 4 and 5"
    limits: ClassVar[tuple[str, ...]] = (
        "the two versions of the paper are two methods; their figures must not be mixed",
        "attention shrinks with the square of the part kept, projections and feed-forward do not shrink",
        "pages cannot be shared: what is important varies with layer and prompt",
        "not on latents (MLA): scores and channels are per head",
    )

    version: int = Field(1, ge=1, le=2)
    probes: float = Field(128, ge=0, le=1_000_000, description="queries that tell importance")

    @property
    def shrinks(self) -> frozenset[Axis]:
        """Version 2 drops tokens; version 1 only writes them in fewer bits."""
        return frozenset({"tokens"}) if self.version == 2 else self.axes

    def rewrite(self, cache: Cache) -> Cache:
        """The cache of ``zipcache`` or the important tokens alone, and prefill attention over these."""
        made = super().rewrite(cache) if self.version == 1 else self._with_work(cache, cache.map_groups(self._dropped))

        def sparse(group: CacheGroup) -> CacheGroup:
            return group if group.kind == "linear" else replace(group, prefill_share=self.important)

        return made.map_groups(sparse) if cache.prefill else made

    def _dropped(self, group: CacheGroup) -> CacheGroup:
        if group.kind == "linear":
            return group

        def cut(segment: Segment) -> Segment:
            kept = self.important * segment.stored
            return replace(segment, stored=kept, read=np.minimum(segment.read, kept))

        tensors: tuple[Tensor, ...] = tuple(tensor.map(cut) for tensor in group.tensors)
        return replace(group, tensors=tensors, attended=self.important * group.attended)

    def _probed(self, cache: Cache) -> Numeric:
        """A number of queries, whatever the prompt."""
        return np.minimum(self.probes, cache.query_tokens)
