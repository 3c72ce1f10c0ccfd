"""Points: the shapes of kernels, as columns of equal length (or scalars) that broadcast."""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import EllipsisType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kvwall.simulator.traffic import Array, Numeric

#: Which points are meant: an index or a mask over them in a row, or ``...`` for all of them on their own axes.
Rows = NDArray[Any] | EllipsisType


@dataclass(frozen=True)
class Points:
    """Shapes of kernels of one family; a column that a family does not use stays at its default.

    :ivar batch: sequences
    :ivar q_len: new tokens per sequence
    :ivar kv_len: tokens attended, the new ones included
    :ivar q_heads: query heads on the device
    :ivar kv_heads: key and value heads on the device
    :ivar head_dim: channels of a key head
    :ivar value_dim: channels of a value head
    :ivar window: tokens a query may attend to; 0 for all
    :ivar m: rows of a product (tokens)
    :ivar n: output features
    :ivar k: input features
    :ivar ranks: devices of a collective
    :ivar message_bytes: payload of one rank
    :ivar moved_bytes: compulsory traffic of a kernel whose shape no other column tells; 0 of all others
    :ivar flops: likewise its operations
    :ivar warm: 1 where the benchmark repeats one buffer, so that a small working set lies in the last-level cache
    """

    batch: Numeric = 1.0
    q_len: Numeric = 1.0
    kv_len: Numeric = 1.0
    q_heads: Numeric = 1.0
    kv_heads: Numeric = 1.0
    head_dim: Numeric = 128.0
    value_dim: Numeric = 128.0
    window: Numeric = 0.0
    m: Numeric = 1.0
    n: Numeric = 1.0
    k: Numeric = 1.0
    ranks: Numeric = 1.0
    message_bytes: Numeric = 0.0
    moved_bytes: Numeric = 0.0
    flops: Numeric = 0.0
    warm: Numeric = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """The axes that all columns together span."""
        return np.broadcast_shapes(*(np.shape(value) for value in vars(self).values()))

    def take(self, rows: Rows) -> Points:
        """The points at ``rows``, in a row; scalars stay."""
        if rows is ...:
            return self
        shape = self.shape
        return Points(**{f.name: _at(getattr(self, f.name), shape, rows) for f in fields(self)})


def _at(value: Numeric, shape: tuple[int, ...], rows: Rows) -> Numeric:
    if np.ndim(value) == 0:
        return value
    picked: Array = np.broadcast_to(value, shape).reshape(-1)[rows]
    return picked
