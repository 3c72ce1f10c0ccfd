"""Agreement of predictions with measurements: quantiles of the relative error, and what the band holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kvwall.simulator.predicting.table import codes
from kvwall.simulator.traffic import Array

#: Resamples of a bootstrap, and the seed that makes two runs print the same.
_RESAMPLES, _SEED = 2000, 20240817

#: Regimes by ideal time in microseconds: launch-bound, between, and bound by the machine.
REGIMES: Mapping[str, tuple[float, float]] = {
    "ideal below 10 us": (0.0, 10.0),
    "ideal 10 to 100 us": (10.0, 100.0),
    "ideal above 100 us": (100.0, np.inf),
}


@dataclass(frozen=True)
class Agreement:
    """How far predictions lie from what was measured; errors are fractions.

    :ivar n: points
    :ivar median: of ``|predicted / measured - 1|``; ``p90`` and ``p99`` likewise
    :ivar bias: median of ``predicted / measured - 1``: above 0 is too slow
    :ivar inside_band: share of the measured values between low and high; the band means to hold 0.8
    :ivar median_interval: central 95 % of the median over bootstrap resamples of the points
    :ivar p90_interval: likewise
    """

    n: int
    median: float
    p90: float
    p99: float
    bias: float
    inside_band: float
    median_interval: tuple[float, float]
    p90_interval: tuple[float, float]


def agreement(predicted: Array, measured: Array, low: Array, high: Array) -> Agreement | None:
    """The agreement of points whose measured value is above zero; ``None`` of no point."""
    if predicted.size == 0:
        return None
    signed = predicted / measured - 1
    errors = np.sort(np.abs(signed))
    inside = (measured >= low) & (measured <= high)
    return Agreement(
        n=int(errors.size),
        median=float(np.quantile(errors, 0.5)),
        p90=float(np.quantile(errors, 0.9)),
        p99=float(np.quantile(errors, 0.99)),
        bias=float(np.median(signed)),
        inside_band=float(inside.mean()),
        median_interval=_interval(errors, 0.5),
        p90_interval=_interval(errors, 0.9),
    )


def _interval(ordered: Array, quantile: float) -> tuple[float, float]:
    """Central 95 % of a quantile over bootstrap resamples.

    The rank of a resample's quantile in the ordered sample follows ``n Beta(k, n - k + 1)`` with ``k = q n``
    (Efron 1979, doi 10.1214/aos/1176344552): no resample need be drawn point by point.
    """
    n = ordered.size
    rank = min(max(1.0, quantile * n), float(n))
    drawn = np.random.default_rng(_SEED).beta(rank, n - rank + 1, _RESAMPLES)
    low, high = np.quantile(ordered[np.minimum((drawn * n).astype(np.int64), n - 1)], [0.025, 0.975])
    return float(low), float(high)


def regimes(ideal_us: Array) -> dict[str, NDArray[np.bool_]]:
    """The rows of each regime."""
    return {name: (ideal_us >= low) & (ideal_us < high) for name, (low, high) in REGIMES.items()}


def groups(columns: Sequence[Sequence[str]]) -> list[tuple[tuple[str, ...], NDArray[np.int64]]]:
    """The rows of each distinct combination of ``columns``, in the order in which they first stand in the table."""
    found, rows = codes(columns)
    order = np.argsort(rows, kind="stable")
    bounds = np.searchsorted(rows[order], np.arange(len(found) + 1))
    return [(found[i], order[bounds[i] : bounds[i + 1]]) for i in range(len(found))]
