"""Kernel times of a device and an engine: calibrated where a fit is near, ``None`` where class defaults must do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from kvwall.hardware.calibration import CALIBRATIONS, Calibration
from kvwall.hardware.device import DEVICES, Device
from kvwall.hardware.document import parse_mapping, read_text
from kvwall.hardware.errors import canonical
from kvwall.simulator.kernel_time.call import KernelCall
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.choosing import Chooser, Fitted
from kvwall.simulator.predicting.defaults import CLASS_DEFAULTS
from kvwall.simulator.predicting.fits import chooser_of, near_chooser
from kvwall.simulator.predicting.machines import Placed, Reach
from kvwall.simulator.predicting.names import KERNELS
from kvwall.simulator.predicting.prediction import Kernel, work_for
from kvwall.simulator.traffic import Array, Numeric

#: Parameters of a quantise pass, what stands for no pass, and the launch of a product alone (bf16 fits on H100).
_QUANTISE = {"row_us", "quantise_fraction"}
_NOTHING = 1e-9
_PRODUCT_LAUNCH_US = 2.6

#: Kernels remembered at most.
_MOST_KNOWN = 4096


@dataclass(frozen=True)
class KernelTime:
    """Seconds of one kernel at each point, at the low end, the middle and the high end of the band.

    :ivar seconds: shape (3, ...)
    :ivar source: calibration and family, or what was borrowed
    """

    seconds: Array
    source: str


@dataclass(frozen=True)
class KernelPrices:
    """Prices of kernels on one device under one framework.

    :ivar device_id: name of the device in the library
    :ivar device: its data sheet, with the user's changes
    :ivar framework: engine whose kernels run
    :ivar chooser: fits to choose from
    """

    device_id: str
    device: Device
    framework: str
    chooser: Chooser
    _known: dict[tuple[object, ...], KernelTime | None] = field(default_factory=dict, repr=False, compare=False)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the calibrations that prices come from: the framework's own, or what it may borrow."""
        # A name is DEVICE.FRAMEWORK[.PART]: the parts of one framework on one device are one calibration to people.
        names = tuple(dict.fromkeys(".".join(name.split(".")[:2]) for name in self.chooser.calibrations))
        own = tuple(name for name in names if name.endswith(f".{self.framework}"))
        return own or names

    def time(self, call: KernelCall) -> KernelTime | None:
        """The time of one kernel of ``call`` with a cold cache; ``None`` where no fit is near enough.

        A plan asks for the same kernels under every scheme, so each is computed once.
        """
        key = (call.kernel, call.dtype, call.kv_dtype, *map(_comparable, vars(call.points).values()))
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = self._time(call)
        return self._known[key]

    def _time(self, call: KernelCall) -> KernelTime | None:
        values = tuple(vars(call.points).values())
        shape = np.broadcast_shapes(*map(np.shape, values))
        columns = np.empty((len(values), *shape))
        for row, value in enumerate(values):
            columns[row] = value
        flat = Points(*columns.reshape(len(values), -1))
        kernel = Kernel(
            self.device_id, self.device_id, call.kernel, call.kernel, self.framework, "", call.dtype, call.kv_dtype
        )
        work = work_for(kernel, flat)
        place = Placed(machine_of(self.device), 0.0)
        reach: Reach = "device" if KERNELS[call.kernel] != "collective" else "pair" if self.device.scale_up else "host"
        seconds = np.empty((3, math.prod(shape)))
        sources: dict[str, None] = {}
        for pricing in self.chooser.prices(kernel, flat, work, place, reach):
            if pricing.calibration == CLASS_DEFAULTS:
                return None
            seconds[:, pricing.rows] = np.stack([pricing.low_s, pricing.mid_s, pricing.high_s])
            sources[f"{pricing.calibration}{f', {pricing.note}' if pricing.note else ''}"] = None
        return KernelTime(seconds.reshape(3, *shape), "; ".join(sources))


def _comparable(value: Numeric) -> object:
    """``value`` as a part of a key."""
    return (value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value


def served(fit: Fitted) -> Fitted | None:
    """``fit`` as it holds inside a serving step; ``None`` for what was measured without graphs.

    A benchmark of a product with dynamic scales starts a quantise pass of its own. An engine writes the codes in the
    norm or the activation before the product, so neither its launch nor its rows nor its bytes come on top.
    """
    if fit.family.name.endswith("-eager"):
        return None
    if not set(fit.parameters) >= _QUANTISE:
        return fit
    alone = {"row_us": _NOTHING, "quantise_fraction": 1 / _NOTHING}
    launch = min(fit.parameters["launch_us"], _PRODUCT_LAUNCH_US)
    return replace(fit, parameters={**fit.parameters, **alone, "launch_us": launch})


def calibration_of(
    device_id: str, device: Device, engine: str, name: str
) -> tuple[str, Calibration, KernelPrices | None]:
    """What ``--calibration`` means on a device under an engine: its name, the class defaults, and the kernel prices.

    :param name: ``auto`` for the fits on this device, or else on its architecture; ``none`` for class defaults alone;
        a kernel calibration by name or path; or other class defaults by path
    :raises InputError: no such calibration
    """
    if name.endswith((".yaml", ".yml")) and "kinds" in parse_mapping(read_text(Path(name)), name):
        return name, CALIBRATIONS.load(name), None
    if canonical(name) == "auto":
        chooser = near_chooser(device_id) if device_id in DEVICES.names else Chooser()
    else:
        chooser = chooser_of(name)
    defaults = CALIBRATIONS.load(CLASS_DEFAULTS)
    chooser = chooser.changed(served)
    if not chooser.knows_any:
        return CLASS_DEFAULTS, defaults, None
    prices = KernelPrices(device_id, device, engine, chooser)
    return " ".join(prices.sources), defaults, prices
