"""A family of kernels: one access pattern of one library, with the few numbers that are fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.traffic import Array


@dataclass(frozen=True)
class Parameter:
    """A fitted number with a physical meaning.

    :ivar name: as it stands in a calibration
    :ivar unit: its unit, ``"us"`` or ``"1"`` for a ratio
    :ivar meaning: what it is
    :ivar low: smallest credible value
    :ivar high: largest credible value
    :ivar default: where a fit starts, and what a prior pulls towards
    """

    name: str
    unit: str
    meaning: str
    low: float
    high: float
    default: float


@dataclass(frozen=True)
class Family:
    """One kernel of one library.

    :ivar name: e.g. ``"decode/fa3-bf16"``
    :ivar kernel: what it computes: decode_attention, prefill_attention, mla_decode, gemm, all_reduce, ...
    :ivar parameters: at most eight
    :ivar seconds: latency of each point, from shapes, parameters (by name) and machine
    :ivar ideal_seconds: the datasheet bound of each point: compulsory bytes and FLOP at peak, no latency
    :ivar reference: where the plan's rules are from
    """

    name: str
    kernel: str
    parameters: tuple[Parameter, ...]
    seconds: Callable[[Points, Mapping[str, float], Machine], Array]
    ideal_seconds: Callable[[Points, Machine], Array]
    reference: str
