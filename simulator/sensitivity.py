"""What an answer hangs on: each uncertain factor by itself (tornado), and its part of the variance (Sobol indices).

The uncertain factors of a step are the times of its parts, of the capacity the components of the engine's reserve and
the loaded weights; each has a central 80 % band, taken as normal in the logarithm (times) or in the amount (bytes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, step_operators
from kvwall.simulator.roofline import price
from kvwall.simulator.setup import Setup
from kvwall.simulator.traffic import Array

#: A central 80 % band of a normal distribution reaches this many standard deviations either way.
_BAND_SIGMAS = 1.2815515594457

#: Sobol sequences are balanced at powers of two.
SAMPLES = 1 << 12
_SEED = 20240601
#: Pools at which the capacity is computed, over so many times the whole width of the bands either way.
_POOLS = 257
_WIDEST = 3.0


@dataclass(frozen=True)
class Factor:
    """One uncertain amount.

    :ivar low: low end of its central 80 % band; ``mid`` its middle, ``high`` its high end
    :ivar positive: it cannot be below 0 and its logarithm is normal
    """

    name: str
    low: float
    mid: float
    high: float
    positive: bool = True

    def at(self, sigmas: Array) -> Array:
        """The amount at so many standard deviations, each side of the band with a deviation of its own."""
        up, down = self.high, self.low
        if self.positive:
            spread = np.log(np.where(sigmas > 0, up / self.mid, self.mid / max(down, 1e-12 * self.mid)))
            return np.asarray(self.mid * np.exp(sigmas * spread / _BAND_SIGMAS))
        return np.asarray(self.mid + sigmas * np.where(sigmas > 0, up - self.mid, self.mid - down) / _BAND_SIGMAS)


@dataclass(frozen=True)
class Swing:
    """What one factor does to an answer.

    :ivar low: the answer with the factor at the low end of its band and all others in the middle
    :ivar high: likewise at the high end
    :ivar first: its part of the variance by itself (first-order Sobol index)
    :ivar total: its part together with all others (total index)
    """

    factor: Factor
    low: float
    high: float
    first: float
    total: float


@dataclass(frozen=True)
class Sensitivity:
    """An answer with what it hangs on, the largest part of the variance first."""

    answer: str
    unit: str
    mid: float
    low: float
    high: float
    swings: tuple[Swing, ...]


Answer = Callable[[Sequence[Array]], Array]


def step_sensitivity(setup: Setup, axes: Axes) -> Sensitivity:
    """What the time of one step hangs on: the parts of the model, the schemes and the host.

    :param axes: one point
    """
    traffic, prices = step_operators(setup, axes)
    factors = []
    for owner in dict.fromkeys(operator.owner for operator in traffic.operators):
        own = replace(traffic, operators=tuple(o for o in traffic.operators if o.owner == owner))
        low, mid, high = np.asarray(price(own, prices).step_s).reshape(3, -1)[:, 0].tolist()
        factors.append(Factor(owner, low, mid, high))
    return _told("step", "s", [factor for factor in factors if factor.mid > 0], lambda values: np.sum(values, axis=0))


def capacity_sensitivity(setup: Setup, context: int) -> Sensitivity:
    """What the number of sequences that fit hangs on: loaded weights and each component of the reserve."""
    capacity = Capacity(setup, context)
    bands = [("loaded weights", capacity.weights), *((part.name, part.bytes) for part in capacity.reserve.components)]
    factors = [Factor(name, band.low, band.mid, band.high, positive=False) for name, band in bands]
    pool, spent = capacity.pool.mid, sum(factor.mid for factor in factors)
    d = setup.deployment
    # What a pool holds rises with it in steps of a block, far below what any factor moves: a line between points.
    widest = sum(factor.high - factor.low for factor in factors) * _WIDEST
    pools = np.linspace(max(0.0, pool - widest), pool + widest, _POOLS)
    held = np.array([capacity.concurrency(float(one)) for one in pools])

    def sequences(values: Sequence[Array]) -> Array:
        kv = np.maximum(0.0, pool + spent - np.sum(values, axis=0))
        return np.asarray(np.interp(kv, pools, held) * d.dp)

    return _told(f"sequences of {context:,} tokens", "", factors, sequences)


def _told(name: str, unit: str, factors: Sequence[Factor], answer: Answer) -> Sensitivity:
    mids = [np.array(factor.mid) for factor in factors]
    ends = []
    for place, factor in enumerate(factors):
        values = [
            float(answer([np.array(end) if i == place else mid for i, mid in enumerate(mids)]))
            for end in (factor.low, factor.high)
        ]
        ends.append(values)
    first, total, spread = sobol(lambda x: answer([f.at(x[i]) for i, f in enumerate(factors)]), len(factors))
    swings = [
        Swing(factor, low, high, float(first[i]), float(total[i]))
        for i, (factor, (low, high)) in enumerate(zip(factors, ends, strict=True))
    ]
    swings.sort(key=lambda swing: -swing.total)
    low, high = np.quantile(spread, [0.1, 0.9])
    return Sensitivity(name, unit, float(answer(mids)), float(low), float(high), tuple(swings))


def sobol(function: Callable[[Array], Array], dimensions: int, samples: int = SAMPLES) -> tuple[Array, Array, Array]:
    """First-order and total Sobol indices of a function of independent standard normal variables, and its values.

    Saltelli's estimators over a scrambled Sobol sequence (Saltelli et al. 2010, doi 10.1016/j.cpc.2009.09.018).

    :param function: takes an array of shape (dimensions, n) and returns shape (n,)
    :returns: indices, each of shape (dimensions,), and the sampled values
    """
    from scipy.stats import norm, sobol_indices

    values: list[Array] = []

    def kept(x: Array) -> Array:
        made = np.asarray(function(x))
        values.append(np.ravel(made).copy())  # scipy centres what it was given in place
        return made

    distributions: Any = [norm()] * dimensions
    found = sobol_indices(func=kept, n=samples, dists=distributions, rng=np.random.default_rng(_SEED))
    return np.asarray(found.first_order), np.asarray(found.total_order), values[0]


def scaled(sensitivity: Sensitivity, factor: float, unit: str) -> Sensitivity:
    """``sensitivity`` in another unit."""
    swings = tuple(replace(s, low=s.low * factor, high=s.high * factor) for s in sensitivity.swings)
    ends = (sensitivity.mid * factor, sensitivity.low * factor, sensitivity.high * factor)
    return Sensitivity(sensitivity.answer, unit, *ends, swings)
