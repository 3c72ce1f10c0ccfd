"""Kernels without a fit: the roofline with the documented efficiencies of their class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kvwall.hardware.calibration import CALIBRATIONS, KernelClass
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.machines import Placed
from kvwall.simulator.predicting.names import KERNELS
from kvwall.simulator.predicting.work import Work
from kvwall.simulator.traffic import Array

#: The calibration that holds the class defaults.
CLASS_DEFAULTS = "uncalibrated"

#: Efficiencies at the fast end of the band are the high ones.
_ENDS = (("low", "high"), ("mid", "mid"), ("high", "low"))

#: Part of a network link that a collective between nodes reaches, at both ends of the band and between: 0.18 to 0.88
#: over the machines of Vidur's tables, whose adapters and switches the data sheet of a device does not tell.
_NETWORK = {"low": 0.2, "mid": 0.45, "high": 0.85}

#: Spread of the latency of a message about its data sheet.
_HOP_SPREAD = {"low": 0.4, "mid": 1.0, "high": 2.0}


@dataclass(frozen=True)
class Seconds:
    """A central 80 % band of each point's time."""

    low: Array
    mid: Array
    high: Array


@lru_cache(maxsize=16)
def kernel_class(kernel: str) -> tuple[KernelClass, float]:
    """The class of ``kernel`` and the sharpness of its smooth maximum."""
    calibration = CALIBRATIONS.load(CLASS_DEFAULTS)
    return calibration.kinds[KERNELS[kernel]], calibration.sharpness


def class_seconds(kernel: str, points: Points, work: Work, place: Placed) -> Seconds:
    """``(t_hbm^p + t_matrix^p + t_link^p)^(1/p) + floor + hops`` of each point, at both ends of the band and between.

    A collective pays the messages of a tree that must follow one another: ``2 log2 n`` of an all-reduce, ``log2 n`` of
    the others. Reference: class defaults in ``hardware/calibrations/uncalibrated.yaml``.
    """
    kind, p = kernel_class(kernel)
    machine = place.machine
    times = {}
    for end, efficiency in _ENDS:
        memory = work.memory_bytes / (machine.bandwidth_bytes_per_s * getattr(kind.memory, efficiency))
        matrix = work.flops / (machine.matrix_flops_per_s[work.operand] * getattr(kind.matrix, efficiency))
        reached = _NETWORK[efficiency] if place.network else getattr(kind.link, efficiency)
        link = work.sent_bytes / (machine.link_bytes_per_s * reached)
        stack = np.stack([memory, matrix, link])
        longest = np.maximum(stack.max(axis=0), 1e-30)
        smooth = longest * np.sum((stack / longest) ** p, axis=0) ** (1 / p)
        waits = _messages(kernel, points) * place.hop_s * _HOP_SPREAD[end]
        times[end] = smooth + getattr(kind.floor, f"{end}_s") + waits
    return Seconds(times["low"], times["mid"], times["high"])


def _messages(kernel: str, points: Points) -> Array:
    """Messages that must follow one another."""
    ranks = np.maximum(np.asarray(points.ranks, dtype=float), 2.0)
    if kernel == "all_reduce":
        count: Array = 2.0 * np.ceil(np.log2(ranks))
        return count
    if kernel in ("all_gather", "reduce_scatter", "alltoall"):
        return np.asarray(np.ceil(np.log2(ranks)))
    return np.full(np.shape(ranks), 1.0 if kernel in ("send_recv", "host_copy") else 0.0)
