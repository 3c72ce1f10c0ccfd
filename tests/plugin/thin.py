"""Thin: of the older tokens keep every few, of the newest all of them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import CONTENT_ROLES, Axis, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.simulator.segments import split_newest
from kvwall.workloads.model_spec import ModelSpec


class Thin(Scheme):
    """Keep the newest ``window`` tokens, and of the older ones every ``stride``-th."""

    name: ClassVar[str] = "thin"
    title: ClassVar[str] = "every few of the older tokens, all of the newest"
    axes: ClassVar[frozenset[Axis]] = frozenset({"tokens"})
    equations: ClassVar[tuple[str, ...]] = (
        "k = min(n, window) + ceil(max(0, n - window) / stride)",
        "stored = read = B k L 2 H_kv d 2 bytes",
    )
    reference: ClassVar[str] = "an example: nobody published it"

    stride: int = Field(4, ge=1, le=4096)
    window: int = Field(256, ge=0, le=1_000_000)

    def check(self, model: ModelSpec) -> None:
        """Any architecture that caches tokens."""
        forbid_no_tokens(self, model)

    def rewrite(self, cache: Cache) -> Cache:
        """Layers that keep every token keep a part of them; bounded layers are narrow already."""

        def thinned(segment: Segment) -> tuple[Segment, Segment]:
            older, newest = split_newest(segment, self.window, "window")
            kept = np.ceil(older.stored / self.stride)
            return Segment("tokens", kept, np.minimum(older.read, kept), older.bits, older.place), newest

        def change(group: CacheGroup, tensor: Tensor) -> Tensor:
            return tensor.map(thinned) if group.kind in {"full", "mla"} else tensor

        return cache.map_tensors(change, CONTENT_ROLES)
