"""Folds by shape: all points of one shape lie in one fold, so that a duplicate is never predicted from itself."""

from __future__ import annotations

import hashlib
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from kvwall.simulator.kernel_time.points import Points

#: Parts that the shapes of a family are split into; each is predicted by a fit to the others.
FOLDS = 5


def fold_of(points: Points) -> NDArray[np.int64]:
    """The fold, 0 to 4, of each point: a hash of its shape, the same on every machine and in any order of rows."""
    columns = np.broadcast_arrays(*(np.asarray(getattr(points, field.name), dtype=float) for field in fields(points)))
    table = np.stack([column.ravel() for column in columns], axis=1).astype("<f8") + 0.0  # -0.0 is 0.0
    shapes, inverse = np.unique(table, axis=0, return_inverse=True)
    digests = [hashlib.blake2b(shape.tobytes(), digest_size=8).digest() for shape in shapes]
    folds = np.array([int.from_bytes(digest, "big") % FOLDS for digest in digests], dtype=np.int64)
    return np.asarray(folds[inverse.ravel()])
