"""Folds by shape: all points of one shape lie in one fold, so that a duplicate is never predicted from itself."""

from __future__ import annotations

import hashlib
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from kvwall.simulator.kernel_time.points import Points

Index = NDArray[np.int64]


def shape_folds(points: Points, folds: int = 5) -> Index:
    """The fold, 0 to ``folds - 1``, of each point: a hash of its shape, the same on every machine and in any order."""
    columns = np.broadcast_arrays(*(np.asarray(getattr(points, field.name), dtype=float) for field in fields(points)))
    shapes, inverse = np.unique(np.stack([column.ravel() for column in columns], axis=1), axis=0, return_inverse=True)
    numbers = [int.from_bytes(hashlib.blake2b(shape.tobytes(), digest_size=8).digest(), "big") for shape in shapes]
    fold: Index = np.array([number % folds for number in numbers], dtype=np.int64)[inverse.ravel()]
    return fold
