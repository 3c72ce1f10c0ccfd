"""What fits: sequences, tokens and the longest context."""

from __future__ import annotations

import numpy as np

from kvwall.validate.reproducing.point import Point, quantity

#: The longest context that is searched for.
_LONGEST_TOKENS = 2.0**27


@quantity
def max_batch(point: Point) -> float:
    """Largest whole number of sequences of this context that fits."""
    return float(np.floor(point.capacity.max_concurrency.mid) * point.setup.deployment.dp)


@quantity
def max_context(point: Point) -> float:
    """Longest context at which the batch fits, prompt and all, by bisection of whole tokens."""
    low, high = 1.0, _LONGEST_TOKENS
    batch = float(point.words["batch"])
    if not _fits(point, batch, low):
        return 0.0
    while high - low > 1:
        middle = float(np.floor((low + high) / 2))
        low, high = (middle, high) if _fits(point, batch, middle) else (low, middle)
    return low


def _fits(point: Point, batch: float, context: float) -> bool:
    return bool(point.capacity.fits(batch, context))
