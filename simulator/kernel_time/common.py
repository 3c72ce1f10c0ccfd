"""Arithmetic that the attention models share: ceilings, smooth maxima, cache misses and waves of thread blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kvwall.simulator.kernel_time.family import Parameter
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.traffic import Array, Numeric

MICRO = 1e-6

#: Bytes of an activation (query, output, unquantised key or value).
HALF_BYTES = 2.0

#: How sharply a wave is bound by the slower of its longest chain and its memory traffic.
WAVE_SHARPNESS = 6.0

#: Partial results of one split are added up in the last-level cache, at so many bytes per second and compute unit.
PARTIAL_BYTES_PER_S = 10e9

Parameters = Mapping[str, float]


def as_array(value: Any) -> Array:
    """``value`` as an array of floats."""
    array: Array = np.asarray(value, dtype=float)
    return array


def ceil_div(amount: Numeric, step: Numeric) -> Array:
    """Whole steps that cover ``amount``."""
    return np.ceil(as_array(amount) / step)


def smooth_max(sharpness: float, first: Numeric, second: Numeric) -> Array:
    """``(first^p + second^p)^(1/p)`` of non-negative numbers, without overflow; never below either."""
    top = np.maximum(first, second)
    part = np.minimum(first, second) / np.where(top > 0, top, 1.0)
    return as_array(top * (1.0 + part**sharpness) ** (1 / sharpness))


def miss_fraction(
    working_set_bytes: Numeric, share: Numeric, machine: Machine, warm: Numeric, edge: float = 8.0
) -> Array:
    """Part of a working set that comes from device memory.

    A benchmark that repeats one buffer finds up to ``share`` of the last-level cache already filled. In a serving step
    (``warm`` 0) the weights and the other layers have passed through the cache since the last call: all of it misses.

    :param edge: steepness at the point where the working set stops fitting
    """
    if not np.any(warm):
        return as_array(1.0)
    filled = as_array(working_set_bytes) / (as_array(share) * machine.l2_bytes)
    return as_array(1 - as_array(warm) / (1 + np.minimum(filled, 1e6) ** edge))


def waves_time(blocks: Array, slots: Numeric, wave_s: Callable[[Array], Array]) -> Array:
    """Seconds of ``blocks`` thread blocks that run ``slots`` at a time: full waves, then the rest.

    :param wave_s: seconds of one wave of so many blocks
    """
    blocks, slots = as_array(blocks), as_array(slots)
    full = np.floor(blocks / slots)
    rest = blocks - full * slots
    return as_array(full * wave_s(slots) + np.where(rest > 0, wave_s(np.maximum(rest, 1.0)), 0.0))


def microseconds(name: str, meaning: str, low: float, high: float, default: float) -> Parameter:
    """A fitted time."""
    return Parameter(name, "us", meaning, low, high, default)


def ratio(name: str, meaning: str, low: float, high: float, default: float) -> Parameter:
    """A fitted number without a unit."""
    return Parameter(name, "1", meaning, low, high, default)
