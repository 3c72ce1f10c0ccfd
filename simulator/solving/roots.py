"""Where a margin changes its sign: looked for on a grid, refined by Brent's method, checked by putting it back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kvwall.simulator.traffic import Array

Margin = Callable[[float], float]

#: Relative precision of a root of a continuous unknown.
_PRECISION = 1e-9


@dataclass(frozen=True)
class Crossing:
    """A place where what is asked starts or ceases to hold.

    :ivar value: the last value on the side that meets it; whole where only whole numbers make sense
    :ivar rises: the targets are met below the value and missed above it
    """

    value: float
    rises: bool


@dataclass(frozen=True)
class Scan:
    """What a grid shows of a margin.

    :ivar crossings: every change of sign between two points of the grid
    :ivar met: the points that meet the targets
    :ivar nearest: the point nearest to a change, and the margin there
    :ivar widest: the largest size of a margin
    """

    crossings: tuple[Crossing, ...]
    met: tuple[float, ...]
    nearest: tuple[float, float]
    widest: float


def scan(values: Array, margins: Array, margin: Margin | None, whole: bool) -> Scan:
    """The crossings of ``margin``, whose values on the grid are known.

    :param values: the grid, rising, shape (n,)
    :param margins: the margin there, met at or below 0; NaN where the question cannot be asked, shape (n,)
    :param margin: the margin anywhere; ``None`` where only the values of the grid can be asked about
    :param whole: only whole values make sense
    """
    known = ~np.isnan(margins)
    values, margins = values[known], margins[known]
    crossings = []
    for i in np.flatnonzero((margins[:-1] <= 0) != (margins[1:] <= 0)):
        rises = bool(margins[i] <= 0)
        low, high = float(values[i]), float(values[i + 1])
        crossings.append(Crossing(_refined(low, high, rises, margin, whole), rises))
    sizes = np.abs(margins)
    least = int(np.argmin(sizes))
    return Scan(
        tuple(crossings),
        tuple(float(value) for value in values[margins <= 0]),
        (float(values[least]), float(margins[least])),
        float(np.max(sizes)),
    )


def _refined(low: float, high: float, rises: bool, margin: Margin | None, whole: bool) -> float:
    """The last value between ``low`` and ``high`` on the side that meets the targets."""
    if margin is None:
        return low if rises else high
    return _last_whole(low, high, rises, margin) if whole else _root(low, high, rises, margin)


def _root(low: float, high: float, rises: bool, margin: Margin) -> float:
    """The root between ``low`` and ``high``, on the side that meets the targets."""
    from scipy.optimize import brentq

    found = float(np.exp(brentq(lambda x: margin(float(np.exp(x))), np.log(low), np.log(high), xtol=_PRECISION)))
    step = found * 2 * _PRECISION
    for _ in range(60):
        if margin(found) <= 0:
            return found
        found = max(low, found - step) if rises else min(high, found + step)
        step *= 2
    return low if rises else high


def _last_whole(low: float, high: float, rises: bool, margin: Margin) -> float:
    """The last whole number that meets the targets, by bisection."""
    met, missed = (low, high) if rises else (high, low)
    while abs(met - missed) > 1:
        middle = float(np.floor((met + missed) / 2))
        if middle in (met, missed):
            break
        met, missed = (middle, missed) if margin(middle) <= 0 else (met, middle)
    return met
