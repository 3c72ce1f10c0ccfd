"""What a kernel model must beat: a roofline with one efficiency, and a launch with two efficiencies.

Both are fitted and held out as the kernel models are: folds by shape, errors on shapes that a fit has not seen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import least_squares

from kvwall.simulator.predicting.folds import FOLDS, fold_of
from kvwall.simulator.traffic import Array
from kvwall.validate.point_table import Sample

#: Spread of the logarithm of repeated measurements, beyond which the soft-L1 loss damps.
_NOISE = 0.05

_Predict = Callable[[Array, Array], Array]


def one_efficiency(sample: Sample) -> Array:
    """Seconds of each point as ``max(memory, other) / e``, with the median ``e`` of the other folds."""

    def fit(memory: Array, other: Array, measured: Array) -> _Predict:
        slowness = float(np.median(measured / np.maximum(memory, other)))
        return lambda more, rest: np.maximum(more, rest) * slowness

    return _held_out(sample, fit)


def launch_and_two(sample: Sample) -> Array:
    """Seconds of each point as ``t0 + max(memory / e1, other / e2)``, fitted in logarithms with a soft-L1 loss."""

    def predict(logs: Array, memory: Array, other: Array) -> Array:
        launch, first, second = np.exp(logs)
        return np.asarray(launch + np.maximum(memory * first, other * second))

    def fit(memory: Array, other: Array, measured: Array) -> _Predict:
        def residuals(logs: Array) -> Array:
            return np.asarray(np.log(predict(logs, memory, other) / measured) / _NOISE)

        start = np.log([float(measured.min()), 1.3, 1.8])
        found = least_squares(residuals, start, loss="soft_l1", x_scale=0.3)
        return lambda more, rest: predict(found.x, more, rest)

    return _held_out(sample, fit)


def _held_out(sample: Sample, fit: Callable[[Array, Array, Array], _Predict]) -> Array:
    number = fold_of(sample.points)
    seconds = np.zeros(sample.latency_s.shape)
    for fold in range(FOLDS):
        held_out, rest = number == fold, number != fold
        if held_out.any():
            predict = fit(sample.memory_s[rest], sample.other_s[rest], sample.latency_s[rest])
            seconds[held_out] = predict(sample.memory_s[held_out], sample.other_s[held_out])
    return seconds
