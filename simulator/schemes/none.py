"""No scheme: 16-bit keys and values, all kept, all read."""

from __future__ import annotations

from typing import ClassVar

from kvwall.simulator.cache import Axis, Cache
from kvwall.simulator.scheme import Scheme


class NoScheme(Scheme):
    """The dense cache, unchanged."""

    name: ClassVar[str] = "none"
    title: ClassVar[str] = "dense 16-bit cache, all kept and all read"
    axes: ClassVar[frozenset[Axis]] = frozenset()
    equations: ClassVar[tuple[str, ...]] = ("stored = read = B n L 2 H_kv d 2 bytes",)
    reference: ClassVar[str] = "Kwon et al. 2023, arXiv 2309.06180 (paged attention), section 3"

    def rewrite(self, cache: Cache) -> Cache:
        """The cache itself."""
        return cache
