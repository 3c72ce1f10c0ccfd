"""How the cache of one group of layers is split over ranks, and over the device and the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kvwall.simulator.cache import Attendant, CacheGroup, Tensor
from kvwall.simulator.segments import part_of
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
        """Elements per token of ``tensor`` on one rank; a recurrent state has no tokens to split."""
        return tensor.elements * tensor.share(self.tp) / (1 if tensor.divisible else self.dcp)


def attended_by(group: CacheGroup, who: Attendant) -> Numeric:
    """Tokens of ``group.attended`` that ``who`` attends to: as many as its part of the reads."""
    segments = group.tensors[0].segments
    if all(segment.attend_on == who for segment in segments):
        return group.attended
    if all(segment.attend_on != who for segment in segments):
        return np.float64(0.0)
    read = sum((segment.read for segment in segments), start=np.float64(0.0))
    own = sum((s.read for s in segments if s.attend_on == who), start=np.float64(0.0))
    return group.attended * part_of(own, read)
