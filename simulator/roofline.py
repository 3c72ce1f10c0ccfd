"""The price: seconds of every term, operator and step. The one place where traffic meets a machine.

An operator's time is the smooth maximum of the times of its resources plus its latency. Operators of one stream add
up; a step is the longest stream. A term has the seconds it would take alone and the seconds charged to the step:
within an operator the resource that binds is charged in full, what hides under it nothing, and what a smooth maximum
or a latency adds is a line of its own. The charged seconds add up to the step exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kvwall.hardware.calibration import Calibration
from kvwall.hardware.device import Link
from kvwall.hardware.dtype import Dtype
from kvwall.hardware.system import System
from kvwall.simulator.traffic import Kind, Numeric, Operator, Resource, Stream, Term, Traffic

Level = Literal["low", "mid", "high"]

LEVELS: tuple[Level, ...] = ("low", "mid", "high")

#: The end of an efficiency band that gives the low, middle and high end of a time.
_EFFICIENCY: dict[Level, Literal["low", "mid", "high"]] = {"low": "high", "mid": "mid", "high": "low"}

_EFFICIENCY_OF: dict[Resource, Literal["memory", "matrix", "vector", "link"]] = {
    "hbm": "memory",
    "matrix": "matrix",
    "vector": "vector",
    "host link in": "link",
    "host link out": "link",
    "host dram": "memory",
    "host compute": "matrix",
    "ssd": "memory",
    "scale up": "link",
    "peer": "link",
    "scale out": "link",
}

#: Resources whose amounts are waits: they add to an operator's time instead of competing in its maximum.
_WAITS: frozenset[Resource] = frozenset({"hops", "peer hops", "network hops", "latency", "host"})


_OVERLAP = "(t1^p + t2^p + ...)^(1/p) - max(t1, t2, ...)"


@dataclass(frozen=True)
class PricedTerm:
    """A line of the bill.

    :ivar owner: part of the model, or scheme
    :ivar operator: the kernel that pays it
    :ivar term: amount, equation and reference
    :ivar ranks: ranks that pay it
    :ivar alone_s: seconds it would take by itself on its resource
    :ivar charged_s: its part of the step
    """

    owner: str
    operator: str
    term: Term
    ranks: Numeric
    alone_s: Numeric
    charged_s: Numeric


@dataclass(frozen=True)
class Bill:
    """Seconds of a step and, if kept, its lines."""

    step_s: Numeric
    lines: tuple[PricedTerm, ...] = ()


class Prices:
    """Seconds per unit of each resource on one rank of a system, at one end of the efficiency band.

    :param system: the machine
    :param calibration: what kernels reach of its peaks; ``None`` prices the ideal: datasheet peaks, no latency
    :param level: which end of the band of *times*
    :param host_launch_s: host time to launch all kernels of a step one by one; 0 where a graph is replayed
    """

    def __init__(
        self, system: System, calibration: Calibration | None, level: Level = "mid", host_launch_s: float = 0.0
    ) -> None:
        self.ideal = calibration is None
        self.host_launch_s = host_launch_s
        self.level: Level = level
        self.system = system
        self.calibration = calibration
        self._rates: dict[tuple[Kind, Resource, Dtype], float] = {}

    def seconds(self, kind: Kind, t: Term) -> Numeric:
        """Seconds that ``t`` takes alone in a kernel of ``kind``."""
        if t.unless_native is not None and self._native(t.unless_native):
            return np.float64(0.0)
        key = (kind, t.resource, t.dtype)
        if key not in self._rates:
            self._rates[key] = self._seconds_per_unit(*key)
        amount = t.amount * self._rates[key]
        spread = {"low": t.spread[0], "mid": 1.0, "high": t.spread[1]}[self.level]
        return amount if spread == 1.0 else amount * spread

    def _native(self, dtype: Dtype) -> bool:
        return self.system.device.matrix_dtype(dtype) == dtype

    def _seconds_per_unit(self, kind: Kind, resource: Resource, dtype: Dtype) -> float:
        if resource in {"host", "latency"}:
            return 1.0
        if resource in _WAITS:
            return self._message_s(resource)
        device, host, sharers = self.system.device, self.system.node.host, self.system.devices_per_host
        bus = device.host_link.bandwidth_bytes_per_s if device.host_link else host.memory_bandwidth_bytes_per_s
        peak: dict[Resource, float] = {
            "hbm": device.hbm.bandwidth_bytes_per_s,
            "matrix": device.matrix_flops_per_s(dtype),
            "vector": device.vector_flops_per_s,
            "host link in": bus,
            "host link out": bus,
            "host dram": host.memory_bandwidth_bytes_per_s / sharers,
            "host compute": host.compute_flops_per_s / sharers,
            "ssd": host.ssd_bandwidth_bytes_per_s / sharers,
            "scale up": device.scale_up.bandwidth_bytes_per_s if device.scale_up else bus,
            "peer": bus,
            "scale out": self._network.bandwidth_bytes_per_s,
        }
        return 1.0 / (peak[resource] * self._efficiency(kind, resource))

    @property
    def _network(self) -> Link:
        return self.system.device.scale_out or self.system.node.network

    def _message_s(self, resource: Resource) -> float:
        """Seconds of one message over the link that ``resource`` counts."""
        device = self.system.device
        if resource == "network hops":
            return self._network.latency_s
        link = device.scale_up if resource == "hops" else device.host_link
        return link.latency_s if link else 0.0

    def _efficiency(self, kind: Kind, resource: Resource) -> float:
        if self.calibration is None or kind == "host":
            return 1.0
        fraction = getattr(self.calibration.kinds[kind], _EFFICIENCY_OF[resource])
        value: float = getattr(fraction, _EFFICIENCY[self.level])
        return value

    def floor_s(self, kind: Kind) -> float:
        """Latency of one kernel launch of ``kind``."""
        if self.calibration is None or kind == "host":
            return 0.0
        floor = self.calibration.kinds[kind].floor
        return {"low": floor.low_s, "mid": floor.mid_s, "high": floor.high_s}[self.level]

    @property
    def sharpness(self) -> float:
        """Exponent of the smooth maximum; infinite for the ideal."""
        return self.calibration.sharpness if self.calibration else float("inf")


def price(traffic: Traffic, prices: Prices, keep_lines: bool = False) -> Bill:
    """The bill of one step."""
    lines: list[tuple[Stream, PricedTerm]] = []
    streams: dict[Stream, Numeric] = {"compute": np.float64(0.0)}
    for operator in traffic.operators:
        seconds, own = _operator(operator, prices, keep_lines)
        streams[operator.stream] = streams.get(operator.stream, 0.0) + seconds
        lines += [(operator.stream, line) for line in own]
    return _longest_stream(streams, prices.host_launch_s, lines, keep_lines)


def _operator(operator: Operator, prices: Prices, keep_lines: bool) -> tuple[Numeric, list[PricedTerm]]:
    """Seconds of one operator and its lines."""
    chosen = [t for t in operator.terms if t.compulsory] if prices.ideal else operator.terms
    alone = [prices.seconds(operator.kind, t) for t in chosen]
    busy: dict[Resource, Numeric] = {}
    waiting: Numeric = np.float64(0.0)
    for t, seconds in zip(chosen, alone, strict=True):
        if t.resource in _WAITS:
            waiting = waiting + seconds
        else:
            busy[t.resource] = busy[t.resource] + seconds if t.resource in busy else seconds
    longest, smooth = _maximum(list(busy.values()), prices.sharpness)
    latency = operator.launches * prices.floor_s(operator.kind)
    total = smooth + latency + waiting
    if not keep_lines:
        return total, []
    lines = []
    free = np.ones(np.shape(longest), dtype=np.bool_)
    binds: dict[Resource, NDArray[np.bool_]] = {}
    for resource, seconds in busy.items():
        binds[resource] = free & np.greater_equal(seconds, longest)
        free = free & ~binds[resource]
    for t, seconds in zip(chosen, alone, strict=True):
        charged = seconds if t.resource in _WAITS else np.where(binds[t.resource], seconds, 0.0)
        lines.append(PricedTerm(operator.owner, operator.name, t, operator.ranks, seconds, charged))
    lines += _residual_lines(operator, smooth - longest, latency, prices.floor_s(operator.kind))
    return total, lines


def _residual_lines(operator: Operator, overlap: Numeric, latency: Numeric, floor_s: float) -> list[PricedTerm]:
    """Lines for what a smooth maximum and launches add to the binding resource."""
    made = []
    if np.any(overlap):
        reference = "smooth maximum over the resources of a kernel"
        made.append(_line(operator, Term("imperfect overlap", "latency", overlap, _OVERLAP, {}, reference)))
    if np.any(latency):
        symbols: dict[str, Numeric] = {"N": operator.launches, "f": floor_s}
        reference = "kernel floor of the calibration, per launch"
        made.append(_line(operator, Term("launch and ramp", "latency", latency, "N * f", symbols, reference)))
    return made


def _line(operator: Operator, made: Term) -> PricedTerm:
    return PricedTerm(operator.owner, operator.name, made, operator.ranks, made.amount, made.amount)


def _maximum(times: list[Numeric], sharpness: float) -> tuple[Numeric, Numeric]:
    """The largest of ``times`` and their smooth maximum ``(sum t^p)^(1/p)``, scaled so that nothing overflows."""
    if not times:
        return np.float64(0.0), np.float64(0.0)
    longest = times[0]
    for other in times[1:]:
        longest = np.maximum(longest, other)
    if len(times) == 1 or not np.isfinite(sharpness):
        return longest, longest
    scale = np.where(longest > 0, longest, 1.0)
    total = sum((_power(t / scale, sharpness) for t in times), start=np.float64(0.0))
    return longest, np.maximum(longest, longest * _root(total, sharpness))


def _power(x: Numeric, p: float) -> Numeric:
    return np.square(np.square(x)) if p == 4 else np.power(x, p)


def _root(x: Numeric, p: float) -> Numeric:
    return np.sqrt(np.sqrt(x)) if p == 4 else np.power(x, 1 / p)


def _longest_stream(
    streams: dict[Stream, Numeric], host_launch_s: float, lines: list[tuple[Stream, PricedTerm]], keep_lines: bool
) -> Bill:
    """The longest stream is the step; a shorter stream beside the computation is hidden and charged nothing."""
    compute = streams["compute"]
    side = {name: seconds for name, seconds in streams.items() if name != "compute"}
    step = compute
    for seconds in side.values():
        step = np.maximum(step, seconds)
    step = np.maximum(step, host_launch_s)
    if not keep_lines:
        return Bill(step)
    exposed = step - compute
    left = exposed
    kept = [line for stream, line in lines if stream == "compute"]
    for name, seconds in side.items():
        # The stream that ends last is charged what sticks out, in proportion to its lines.
        pays = np.where((seconds >= step) & (left > 0), left, 0.0)
        left = left - pays
        share = np.divide(pays, seconds, out=np.zeros(np.broadcast(pays, seconds).shape), where=np.asarray(seconds) > 0)
        for stream, line in lines:
            if stream == name:
                kept.append(
                    PricedTerm(line.owner, line.operator, line.term, line.ranks, line.alone_s, line.charged_s * share)
                )
    if np.any(left > 0):
        waits = Term(
            "wait for launches", "host", left, "max(0, layers * eager time per layer - step)", {}, "engine profile"
        )
        kept.append(PricedTerm("host", "launches", waits, 1.0, left, left))
    return Bill(step, tuple(kept))
