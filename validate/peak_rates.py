"""What a machine was seen to reach; made without torch."""

from __future__ import annotations

from dataclasses import dataclass

from kvwall.hardware.dtype import Dtype


@dataclass(frozen=True)
class Peaks:
    """What was reached, base SI.

    :ivar memory_bytes_per_s: of a copy (read and written bytes both count) or a read that exceeds the cache
    :ivar cache_bytes_per_s: likewise of one that lies in the last-level cache; ``None`` where that is too small to tell
    :ivar flops_per_s: of a square product by dtype; what torch cannot multiply here is missing
    :ivar link_bytes_per_s: of a copy from pinned host memory; ``None`` on a processor
    :ivar eager_s: of a kernel with next to nothing to do; ``graph_s`` replayed from a graph, on a processor the same
    :ivar repeats: of the call that was fastest, by ``memory``, ``cache``, ``link``, ``launch`` and ``product`` (the
        fewest of any dtype)
    """

    memory_bytes_per_s: float
    cache_bytes_per_s: float | None
    flops_per_s: dict[Dtype, float]
    link_bytes_per_s: float | None
    eager_s: float
    graph_s: float
    repeats: dict[str, int]
