"""Seconds per unit of each resource: the one expression in which a data sheet meets a calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np

from kvwall.hardware.calibration import Calibration, Fraction
from kvwall.hardware.device import Link
from kvwall.hardware.dtype import Dtype
from kvwall.hardware.system import System
from kvwall.simulator.kernel_prices import KernelPrices, KernelTime
from kvwall.simulator.kernel_time.call import KernelCall
from kvwall.simulator.traffic import Kind, Numeric, Resource, Term

Level = Literal["low", "mid", "high"]

#: Half of a central 80 % band in standard deviations, and the spread of log(time) of a kernel told from another.
_BAND, _CARRIED_SIGMA = 1.2816, 0.15

#: One message of a ring over the host's bus: fit of all-reduces of four A100 PCIe cards (microsoft/vidur tables).
_PEER_HOP_S = 7.8e-6

LEVELS: tuple[Level, ...] = ("low", "mid", "high")

_EFFICIENCY_OF: dict[Resource, Literal["memory", "matrix", "vector", "link"]] = {
    "hbm": "memory",
    "l2": "memory",
    "matrix": "matrix",
    "vector": "vector",
    "host link in": "link",
    "host link out": "link",
    "host dram": "memory",
    "host compute": "matrix",
    "ssd": "memory",
    "flash": "memory",
    "drive compute": "matrix",
    "drive link": "link",
    "scale up": "link",
    "peer": "link",
    "scale out": "link",
}

#: Resources whose amounts are waits: they add to an operator's time instead of competing in its maximum.
WAITS: frozenset[Resource] = frozenset({"hops", "peer hops", "network hops", "latency", "host"})


class Prices:
    """Seconds per unit of each resource on one rank of a system, at one or all ends of the efficiency band.

    :param system: the machine
    :param calibration: what kernels reach of its peaks; ``None`` prices the ideal: datasheet peaks, no latency
    :param levels: ends of the band of *times*; of several, seconds have a leading axis of that length
    :param ndim: dimensions of the points that are priced
    :param host_launch_s: host time to launch all kernels of a step one by one, per level; 0 where a graph is replayed
    :param kernels: calibrated kernel times, which stand over the efficiencies where they know a kernel
    :param compute_share: part of the device's multiprocessors that kernels may use; the bound knows no such limit
    :param memory_share: part of the memory bandwidth that is left to them
    """

    def __init__(
        self,
        system: System,
        calibration: Calibration | None,
        levels: tuple[Level, ...] = ("mid",),
        ndim: int = 0,
        host_launch_s: Sequence[Numeric] = (0.0, 0.0, 0.0),
        kernels: KernelPrices | None = None,
        compute_share: float = 1.0,
        memory_share: float = 1.0,
    ) -> None:
        self.ideal = calibration is None
        self.levels = levels
        self.system = system
        self.calibration = calibration
        self._shape = (len(levels),) + (1,) * ndim
        self._rates: dict[tuple[Kind, Resource, Dtype], Numeric] = {}
        self._floors: dict[Kind, Numeric] = {}
        self.host_launch_s = self._leveled(host_launch_s)
        self._kernels = kernels
        self.peaks = self if calibration is None else Prices(system, None, ("mid",), ndim)
        self._share: dict[Resource, float] = {"matrix": compute_share, "vector": compute_share, "hbm": memory_share}
        own = calibration is not None and min(compute_share, memory_share) < 1
        self.undivided = Prices(system, calibration, levels, ndim) if own else self

    def _leveled(self, values: Sequence[Numeric]) -> Numeric:
        """The values of the levels that are priced, of ``values`` (a number, or one per point) at low, mid and high."""
        chosen = [values[LEVELS.index(level)] for level in self.levels]
        if len(chosen) == 1:
            return chosen[0]
        if all(isinstance(value, float) for value in chosen):
            return np.array(chosen).reshape(self._shape)
        stacked = np.stack(np.broadcast_arrays(*chosen))
        # The levels lead, the axes of the points align from the right as everywhere.
        missing = (1,) * (len(self._shape) - stacked.ndim)
        return stacked.reshape(len(chosen), *missing, *stacked.shape[1:])

    def seconds(self, kind: Kind, t: Term) -> Numeric:
        """Seconds that ``t`` takes alone in a kernel of ``kind``."""
        if t.unless_native is not None and self._native(t.unless_native):
            return np.float64(0.0)
        key = (kind, t.resource, t.dtype)
        if key not in self._rates:
            self._rates[key] = self._seconds_per_unit(*key)
        rate = self._rates[key]
        if t.spread != (1.0, 1.0):
            rate = rate * self._leveled((t.spread[0], 1.0, t.spread[1]))
        return t.amount * rate

    @property
    def carried_spread(self) -> Numeric:
        """What the ends of the band gain where a measured kernel stands for one that nobody measured."""
        wide = math.exp(_BAND * _CARRIED_SIGMA)
        return self._leveled((1 / wide, 1.0, wide))

    def kernel(self, call: KernelCall | None) -> KernelTime | None:
        """The calibrated time of ``call`` at the levels priced, all its kernels together; ``None`` if unknown."""
        if call is None or self._kernels is None:
            return None
        found = self._kernels.time(call)
        if found is None:
            return None
        chosen = [LEVELS.index(level) for level in self.levels]
        if len(chosen) == 1:
            return KernelTime(found.seconds[chosen[0]] * call.count, found.source)
        seconds = found.seconds if self.levels == LEVELS else found.seconds[chosen]
        # The levels lead, the axes of the points align from the right as everywhere.
        points = seconds.shape[1:]
        missing = (1,) * (len(self._shape) - 1 - len(points))
        return KernelTime(seconds.reshape(len(chosen), *missing, *points) * call.count, found.source)

    def _native(self, dtype: Dtype) -> bool:
        return self.system.device.matrix_dtype(dtype) == dtype

    def _seconds_per_unit(self, kind: Kind, resource: Resource, dtype: Dtype) -> Numeric:
        if resource in {"host", "latency"}:
            return 1.0
        if resource in WAITS:
            return self._message_s(resource)
        peak = self.system.device.matrix_flops_per_s(dtype) if resource == "matrix" else self._peak[resource]
        return 1.0 / (peak * self._efficiency(kind, resource) * self._share.get(resource, 1.0))

    @cached_property
    def _peak(self) -> dict[Resource, float]:
        """Units per second of every resource but the matrix unit, whose peak depends on the dtype."""
        device, host, sharers = self.system.device, self.system.node.host, self.system.devices_per_host
        bus = device.host_link.bandwidth_bytes_per_s if device.host_link else host.memory_bandwidth_bytes_per_s
        return {
            "hbm": device.hbm.bandwidth_bytes_per_s,
            "l2": (device.l2 and device.l2.bandwidth_bytes_per_s) or device.hbm.bandwidth_bytes_per_s,
            "vector": device.vector_flops_per_s,
            "host link in": bus,
            "host link out": bus,
            "host dram": host.memory_bandwidth_bytes_per_s / sharers,
            "host compute": host.compute_flops_per_s / sharers,
            "ssd": host.ssd_bandwidth_bytes_per_s / sharers,
            "flash": host.drives.count * host.drives.flash_bandwidth_bytes_per_s / sharers,
            "drive compute": host.drives.count * host.drives.compute_flops_per_s / sharers,
            "drive link": host.drives.count * host.drives.link_bandwidth_bytes_per_s / sharers,
            "scale up": device.scale_up.bandwidth_bytes_per_s if device.scale_up else bus,
            "peer": bus,
            "scale out": self._network.bandwidth_bytes_per_s,
        }

    @property
    def _network(self) -> Link:
        return self.system.device.scale_out or self.system.node.network

    def _message_s(self, resource: Resource) -> float:
        """Seconds of one message over the link that ``resource`` counts."""
        device = self.system.device
        if resource == "network hops":
            return self._network.latency_s
        if resource == "peer hops":
            return _PEER_HOP_S
        return device.scale_up.latency_s if device.scale_up else 0.0

    def _efficiency(self, kind: Kind, resource: Resource) -> Numeric:
        if self.calibration is None or kind == "host":
            return 1.0
        fraction: Fraction = getattr(self.calibration.kinds[kind], _EFFICIENCY_OF[resource])
        # The high end of an efficiency is the low end of a time.
        return self._leveled((fraction.high, fraction.mid, fraction.low))

    def floor_s(self, kind: Kind) -> Numeric:
        """Latency of one kernel launch of ``kind``."""
        if self.calibration is None or kind == "host":
            return 0.0
        if kind not in self._floors:
            floor = self.calibration.kinds[kind].floor
            self._floors[kind] = self._leveled((floor.low_s, floor.mid_s, floor.high_s))
        return self._floors[kind]

    @property
    def sharpness(self) -> float:
        """Exponent of the smooth maximum; infinite for the ideal."""
        return self.calibration.sharpness if self.calibration else float("inf")
