"""What other programs took of the processors while kernels were timed on them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

_STAT = Path("/proc/stat")

#: Columns of the first line of ``/proc/stat`` in which a processor does nothing: idle, and waiting for a disk.
_IDLE = (3, 4)

#: Part of the processors above which times say little of the kernels.
BUSY = 0.1


@dataclass(frozen=True)
class Used:
    """Seconds since some start: on the wall, of all processors at work, and of this program alone."""

    wall_s: float
    all_s: float
    own_s: float

    def others_since(self, before: Used, processors: int) -> float:
        """Part of ``processors`` that others took since ``before``."""
        others_s = (self.all_s - before.all_s) - (self.own_s - before.own_s)
        return max(0.0, others_s / (max(self.wall_s - before.wall_s, 1e-9) * processors))


def used_until_now(stat: Path = _STAT) -> Used | None:
    """What was used until now; ``None`` where the system does not tell."""
    try:
        columns = [float(word) for word in stat.read_text(encoding="utf-8").splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return None
    ticks = sum(value for place, value in enumerate(columns) if place not in _IDLE)
    times = os.times()
    own_s = times.user + times.system + times.children_user + times.children_system
    return Used(perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), own_s)


def others_share(before: Used | None, after: Used | None) -> float | None:
    """Part of all processors that other programs took between the two; ``None`` where the system does not tell."""
    if before is None or after is None:
        return None
    return after.others_since(before, os.cpu_count() or 1)
