"""How far a shape lies outside the shapes of a fit, and what that adds to the band."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.traffic import Array

#: Columns whose range a calibration keeps.
RANGED = ("batch", "q_len", "kv_len", "q_heads", "kv_heads", "head_dim", "m", "n", "k", "ranks", "message_bytes")

#: Spread of log(predicted / measured) for each factor of e that a shape lies outside: what brings the bands of fits to
#: short contexts or small batches, held against longer and larger ones, nearest to their 80 % (docs/accuracy.md).
OUTSIDE_SPREAD = 0.04

Range = Mapping[str, tuple[float, float]]


def range_of(points: Points) -> dict[str, tuple[float, float]]:
    """The smallest and the largest value of each column that tells anything."""
    columns = {name: np.asarray(getattr(points, name), dtype=float) for name in RANGED}
    default = Points()
    told = {name: column for name, column in columns.items() if np.any(column != getattr(default, name))}
    return {name: (float(column.min()), float(column.max())) for name, column in told.items()}


def outside(points: Points, known: Range) -> Array:
    """Sum over the columns of ``ln(value / largest)`` or ``ln(smallest / value)``; 0 inside, or if nothing is known.

    A fit knows its shapes; beyond them each factor may bring a plan, a queue or a cache that no point has shown. The
    error of an exponent that is a little wrong grows with the logarithm of the distance.
    """
    distance: Array = np.zeros(())
    for name, (low, high) in known.items():
        value = np.maximum(np.asarray(getattr(points, name), dtype=float), 1e-12)
        distance = distance + np.log(np.maximum(np.maximum(value / high, low / value), 1.0))
    return np.asarray(distance)
