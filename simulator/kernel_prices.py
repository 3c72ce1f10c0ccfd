"""Kernel times of a device and an engine: calibrated where a fit is near, ``None`` where class defaults must do."""

from __future__ import annotations

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
from kvwall.simulator.predicting.machines import Placed, Reach, architecture
from kvwall.simulator.predicting.names import KERNELS
from kvwall.simulator.predicting.prediction import Kernel, work_for
from kvwall.simulator.traffic import Array, Numeric

#: Parameters of a quantise pass, and the launch of a product alone (bf16 fits on H100).
_QUANTISE = {"row_us", "quantise_fraction"}
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
        near = [name for name, lent in self._lent.items() if not lent]
        if near or not self._lent:
            own = _wholes(near, self.framework)
            return own or _wholes(near, "")
        # Of other generations, the nearest comes first and only the engine's own library lends.
        return _wholes(list(self._lent), self.framework)[:1]

    @property
    def borrowed(self) -> bool:
        """Whether nothing was measured on the device's architecture, so that another generation lends its plans."""
        return bool(self._lent) and all(self._lent.values())

    @property
    def _lent(self) -> dict[str, bool]:
        """Every calibration, and whether it is of another generation."""
        own = self.device.architecture.split()[0]
        return {
            name: device in DEVICES.names and self.device_id in DEVICES.names and architecture(device) != own
            for name, device in self.chooser.devices.items()
        }

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
        points = Points(*(np.asarray(value, dtype=float) for value in vars(call.points).values()))
        kernel = Kernel(
            self.device_id, self.device_id, call.kernel, call.kernel, self.framework, "", call.dtype, call.kv_dtype
        )
        work = work_for(kernel, points)
        place = Placed(machine_of(self.device), 0.0)
        reach: Reach = "device" if KERNELS[call.kernel] != "collective" else "pair" if self.device.scale_up else "host"
        seconds = np.empty((3, *points.shape))
        sources: dict[str, None] = {}
        for pricing in self.chooser.prices(kernel, points, work, place, reach):
            if pricing.calibration == CLASS_DEFAULTS:
                return None
            ends = seconds if pricing.rows is ... else seconds.reshape(3, -1)
            for level, end in enumerate((pricing.low_s, pricing.mid_s, pricing.high_s)):
                ends[level, pricing.rows] = end
            sources[f"{pricing.calibration}{f', {pricing.note}' if pricing.note else ''}"] = None
        return KernelTime(seconds, "; ".join(sources))


def _wholes(names: list[str], framework: str) -> tuple[str, ...]:
    """Names of calibrations without their parts, of one framework if it is named."""
    # A name is DEVICE.FRAMEWORK[.PART]: the parts of one framework on one device are one calibration to people.
    found = dict.fromkeys(".".join(name.split(".")[:2]) for name in names)
    return tuple(name for name in found if not framework or name.endswith(f".{framework}"))


def _comparable(value: Numeric) -> object:
    """``value`` as a part of a key."""
    return (value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value


def served(fit: Fitted) -> Fitted | None:
    """``fit`` as it holds inside a serving step; ``None`` for what was measured without graphs.

    A benchmark of a product with dynamic scales starts a quantise pass of its own. An engine writes the codes in the
    norm or the activation before the product, so that its launch does not come on top. Its rows do: without them the
    prefills of two closed-loop H100 series of fp8 models come out a tenth to a fifth too fast.
    """
    if fit.family.name.endswith("-eager"):
        return None
    if not set(fit.parameters) >= _QUANTISE:
        return fit
    launch = min(fit.parameters["launch_us"], _PRODUCT_LAUNCH_US)
    return replace(fit, parameters={**fit.parameters, "launch_us": launch})


def calibration_of(
    device_id: str, device: Device, engine: str, name: str
) -> tuple[str, Calibration, KernelPrices | None]:
    """What ``--calibration`` means on a device under an engine: its name, the class defaults, and the kernel prices.

    :param name: ``auto`` for the fits on this device, or else on its architecture, or else what another generation may
        lend; ``none`` for class defaults alone; a kernel calibration by name or path; or other class defaults by path
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
    prices = KernelPrices(device_id, device, engine, chooser)
    if not prices.sources:
        return CLASS_DEFAULTS, defaults, None
    return " ".join(prices.sources), defaults, prices
