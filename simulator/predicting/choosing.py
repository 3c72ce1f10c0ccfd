"""Whose numbers price a kernel: its own calibration, the nearest of its architecture, or its class defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import canonical
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.defaults import CLASS_DEFAULTS, class_seconds
from kvwall.simulator.predicting.families import family_names
from kvwall.simulator.predicting.folds import fold_of
from kvwall.simulator.predicting.machines import Placed, Reach, architecture
from kvwall.simulator.predicting.work import Work
from kvwall.simulator.traffic import Array

if TYPE_CHECKING:
    from kvwall.simulator.predicting.prediction import Kernel

#: Half of a central 80 % band in standard deviations.
_BAND = 1.2816

#: Frameworks whose numbers are borrowed first, where several would do.
_USUAL = ("vllm", "sglang", "trtllm", "nccl")


@dataclass(frozen=True)
class Fitted:
    """A fit of one kernel family.

    :ivar calibration: its name
    :ivar device: name in the library
    :ivar framework: whose kernel was measured
    :ivar parameters: by name
    :ivar residual: spread of log(predicted/measured) by regime, in the order of :data:`REGIME_BOUNDS_S`
    :ivar folds: parameters fitted without the points of each fold; empty where they were not kept
    """

    calibration: str
    device: str
    framework: str
    family: Family
    parameters: Mapping[str, float]
    residual: tuple[float, float, float]
    folds: tuple[Mapping[str, float], ...] = ()


#: Upper ends of the regimes by ideal time, in seconds.
REGIME_BOUNDS_S = (10e-6, 100e-6)


@dataclass(frozen=True)
class Pricing:
    """Prices of some rows of a group.

    :ivar rows: which rows of the group, as an index
    """

    rows: NDArray[np.int64]
    low_s: Array
    mid_s: Array
    high_s: Array
    ideal_s: Array
    calibration: str
    note: str = ""


@dataclass(frozen=True)
class _Loan:
    """How far the device or the framework of a fit is from that of a kernel.

    :ivar distance: fits are tried in this order
    :ivar spread: what the loan adds to the spread of log(predicted/measured), in quadrature
    """

    distance: int
    spread: float
    told: str = ""


class Chooser:
    """Prices kernels from a set of fits.

    :param fits: what may be used; none leaves the class defaults
    :param out_of_fold: price each point by a fit that has not seen its shape
    """

    def __init__(self, fits: tuple[Fitted, ...] = (), *, out_of_fold: bool = False) -> None:
        self._by_family: dict[str, list[Fitted]] = {}
        for fit in fits:
            self._by_family.setdefault(fit.family.name, []).append(fit)
        self._out_of_fold = out_of_fold

    def prices(self, kernel: Kernel, points: Points, work: Work, place: Placed, reach: Reach) -> Iterator[Pricing]:
        """The prices of all ``points``, in one or more parts."""
        names = family_names(kernel, points, place.machine)
        for name in dict.fromkeys(names.tolist()):
            rows = np.flatnonzero(names == name)
            found = self._nearest(name, kernel, reach)
            if found is None:
                yield _by_class(kernel, points.take(rows), work.take(rows), place, rows, self._why_class(name))
            else:
                yield self._by_fit(*found, points.take(rows), work.take(rows), place, rows)

    def _why_class(self, family: str) -> str:
        if not self._by_family:
            return ""
        return f"no fit of {family} for this architecture: " if family else "no kernel model fits: "

    def _nearest(self, family: str, kernel: Kernel, reach: Reach) -> tuple[Fitted, _Loan] | None:
        loans = [(fit, _loan(fit, kernel, reach)) for fit in self._by_family.get(family, ())]
        near = [(fit, loan) for fit, loan in loans if loan is not None]
        return min(near, key=lambda pair: (pair[1].distance, _preference(pair[0]))) if near else None

    def _by_fit(
        self, fit: Fitted, loan: _Loan, points: Points, work: Work, place: Placed, rows: NDArray[np.int64]
    ) -> Pricing:
        machine = place.machine
        mid = fit.family.seconds(points, fit.parameters, machine)
        note = loan.told
        if self._out_of_fold and not loan.told:
            if fit.folds:
                fold = fold_of(points)
                for number, parameters in enumerate(fit.folds):
                    inside = fold == number
                    if inside.any():
                        mid = np.where(inside, family_seconds(fit.family, points, parameters, machine), mid)
                note = "out of fold"
            else:
                note = "in sample: the calibration keeps no folds"
        ideal = np.broadcast_to(work.ideal_s(machine), rows.shape)
        mid = np.broadcast_to(mid, rows.shape)
        # A warm benchmark may read a small working set faster than memory; nothing else beats the data sheet.
        mid = np.where(np.asarray(points.warm) > 0, mid, np.maximum(mid, ideal))
        spread = np.hypot(np.asarray(fit.residual)[np.searchsorted(REGIME_BOUNDS_S, ideal, side="right")], loan.spread)
        wide = np.exp(_BAND * spread)
        return Pricing(rows, mid / wide, mid, mid * wide, ideal, fit.calibration, note)


def family_seconds(family: Family, points: Points, parameters: Mapping[str, float], machine: object) -> Array:
    """Seconds of all ``points`` of a family."""
    return family.seconds(points, parameters, machine)  # type: ignore[arg-type]


def _by_class(kernel: Kernel, points: Points, work: Work, place: Placed, rows: NDArray[np.int64], why: str) -> Pricing:
    priced = class_seconds(kernel.kernel, points, work, place.machine, place.hop_s)
    ideal = np.broadcast_to(work.ideal_s(place.machine), rows.shape)
    low, mid, high = (np.maximum(end, ideal) for end in (priced.low, priced.mid, priced.high))
    return Pricing(rows, low, mid, high, ideal, CLASS_DEFAULTS, f"{why}class defaults")


def _loan(fit: Fitted, kernel: Kernel, reach: Reach) -> _Loan | None:
    """What it takes to use ``fit`` for ``kernel``; ``None`` where it would be another kernel altogether."""
    if reach == "network" or (reach == "host" and DEVICES.load(fit.device).scale_up is not None):
        return None  # the fit is of the fast link
    same_framework = canonical(fit.framework) == canonical(kernel.framework)
    if fit.device == kernel.device:
        if same_framework:
            return _Loan(0, 0.0)
        return _Loan(1, 0.15, f"borrowed from {fit.framework} on the same device")
    if architecture(fit.device) != architecture(kernel.device):
        return None
    told = f"borrowed from {fit.device} ({fit.framework}), data sheet of {kernel.device}"
    return _Loan(2, 0.15, told) if same_framework else _Loan(3, 0.2, told)


def _preference(fit: Fitted) -> tuple[int, str]:
    usual = canonical(fit.framework)
    return (_USUAL.index(usual) if usual in _USUAL else len(_USUAL), fit.calibration)
