"""Boosted regression trees on the shapes: what interpolation reaches that knows nothing of how a kernel works.

scikit-learn is imported where trees are grown, and for nothing else; it comes with the ``dev`` extra.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np

from kvwall.simulator.predicting.folds import FOLDS, fold_of
from kvwall.simulator.traffic import Array
from kvwall.validate.point_table import Index, Sample

#: Trees of the ensemble, and points that a leaf holds at least: small tables, little noise.
_TREES, _LEAF_POINTS = 400, 5

#: Stands for zero where a logarithm is taken.
_NOTHING = 1e-12


def boosted_trees(sample: Sample) -> Array:
    """Seconds of each point by trees grown on the other folds."""
    number = fold_of(sample.points)
    seconds = np.zeros(sample.latency_s.shape)
    for fold in range(FOLDS):
        inside, rest = np.flatnonzero(number == fold), np.flatnonzero(number != fold)
        if inside.size:
            seconds[inside] = grown(sample, rest)(inside)
    return seconds


def grown(sample: Sample, rows: Index) -> Callable[[Index], Array]:
    """Trees that predict the seconds of any points of ``sample`` after those at ``rows``.

    Histogram gradient boosting on squared errors of the logarithm (Friedman 2001, doi 10.1214/aos/1013203451; Ke et al.
    2017, LightGBM), from the logarithms of every shape column and of the data sheet's times of memory and of the rest.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    columns, measured = _features(sample), np.log(sample.latency_s)
    trees = HistGradientBoostingRegressor(
        max_iter=_TREES, min_samples_leaf=_LEAF_POINTS, early_stopping=False, random_state=0
    )
    with threadpool_limits(1):  # threads that wait for a busy core cost more than they save
        trees.fit(columns[rows], measured[rows])
    return lambda asked: np.asarray(np.exp(trees.predict(columns[asked])))


def _features(sample: Sample) -> Array:
    """Logarithms, shape (points, columns)."""
    shape = sample.latency_s.shape
    columns = [
        np.broadcast_to(np.asarray(getattr(sample.points, field.name)), shape) for field in fields(sample.points)
    ]
    told = np.stack([*columns, sample.memory_s, sample.other_s], axis=1)
    return np.asarray(np.log(np.maximum(told, _NOTHING)))
