"""Quantise passes: activations to fp8 before a product, one thread block for each row.

Per-token and per-block scales come out of one kernel; a per-tensor scale needs one kernel for the scale and one that
applies it. A pass is bound by its thread blocks at short rows, by memory at long ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

import numpy as np

from kvwall.hardware.errors import InputError, suggestion
from kvwall.simulator.kernel_time.common import MICRO, Parameters, as_array, microseconds, miss_fraction, ratio
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.traffic import Array, Numeric

#: Bytes that one activation moves: two read, one written; a scale alone only reads.
_ELEMENT_BYTES: Mapping[str, float] = {"apply": 3.0, "per-token": 3.0, "scale": 2.0}

#: Time of bytes found in the last-level cache, as a part of their time from memory.
_CACHED_TIME = 0.5

#: Columns of the row that ``walk_us`` speaks of.
_WALK = 1024.0

Pass = Literal["apply", "per-token", "scale"]

ROW = microseconds("row_us", "one thread block and its row, spread over the device", 2e-5, 0.03, 0.002)
READ = ratio("quantise_fraction", "achieved part of the memory bandwidth in the quantise pass", 0.02, 1.0, 0.5)
LAUNCH = microseconds("launch_us", "start of the kernel, replayed from a graph", 0.3, 30.0, 2.5)
WALK = microseconds("walk_us", "one thread block going through 1024 columns", 0.001, 1.0, 0.05)
SHARE = ratio("l2_share", "part of the last-level cache that a repeated buffer can use", 0.2, 1.6, 0.75)


def rows_s(m: Numeric, moved_bytes: Numeric, p: Parameters, machine: Machine) -> Array:
    """Seconds of a pass over ``m`` rows: thread blocks against memory, neither hidden fully behind the other."""
    blocks_s = as_array(m) * p["row_us"] * MICRO
    memory_s = as_array(moved_bytes) / (p["quantise_fraction"] * machine.bandwidth_bytes_per_s)
    return np.hypot(blocks_s, memory_s)


def quantise_s(points: Points, p: Parameters, machine: Machine, kind: Pass) -> Array:
    """Seconds of a quantise pass over an activation of ``points.m`` rows and ``points.k`` columns of 16 bits."""
    moved = _ELEMENT_BYTES[kind] * as_array(points.m) * points.k
    miss = miss_fraction(moved, p["l2_share"], machine, points.warm)
    walk_s = p["walk_us"] * MICRO * as_array(points.k) / _WALK
    body_s = np.hypot(walk_s, rows_s(points.m, moved * np.maximum(miss, _CACHED_TIME), p, machine))
    return np.maximum(
        p["launch_us"] * MICRO + body_s, np.where(as_array(points.warm) > 0, 0.0, bound_s(points, machine, kind))
    )


def bound_s(points: Points, machine: Machine, kind: Pass) -> Array:
    return as_array(_ELEMENT_BYTES[kind] * as_array(points.m) * points.k / machine.bandwidth_bytes_per_s)


def _family(kind: Pass) -> Family:
    return Family(
        name=f"quantize/{kind}",
        kernel="quantize",
        parameters=(LAUNCH, WALK, ROW, READ, SHARE),
        seconds=partial(quantise_s, kind=kind),
        ideal_seconds=partial(bound_s, kind=kind),
        reference="vLLM, csrc/quantization/fp8: one thread block per row",
    )


#: Every quantise pass: apply a known scale, find and apply scales per token, find one scale.
FAMILIES: tuple[Family, ...] = (_family("apply"), _family("per-token"), _family("scale"))

#: Quantise passes by name.
QUANTISE: dict[str, Family] = {family.name: family for family in FAMILIES}


def quantise_family(kind: str) -> Family:
    """The family of a pass: ``"apply"`` a known scale, find a ``"scale"``, or both at once ``"per-token"``.

    :raises InputError: no such pass
    """
    name = f"quantize/{kind}"
    if name not in QUANTISE:
        allowed = sorted(_ELEMENT_BYTES)
        raise InputError(
            f"quantise pass {kind!r} is unknown{suggestion(kind, allowed)} (allowed: {', '.join(allowed)})"
        )
    return QUANTISE[name]
