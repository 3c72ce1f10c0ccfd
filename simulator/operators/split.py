"""How the cache of one group of layers is split over ranks."""

from __future__ import annotations

from dataclasses import dataclass

from kvwall.simulator.cache import CacheGroup, Tensor
from kvwall.simulator.traffic import Numeric


@dataclass(frozen=True, slots=True)
class Split:
    """How the cache of one group is split.

    :ivar tp: ranks that share the heads of a sequence
    :ivar dcp: ranks that share the tokens of a sequence
    :ivar ranks: ranks of the deployment that pay each operator
    """

    tp: int
    dcp: int
    ranks: Numeric

    def queries(self, group: CacheGroup) -> float:
        """Query heads on one rank."""
        return -(-group.q_heads // self.tp)

    def elements(self, tensor: Tensor) -> float:
        """Elements per token of ``tensor`` on one rank."""
        return tensor.elements * tensor.share(self.tp) / self.dcp
