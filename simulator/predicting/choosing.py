"""Whose numbers price a kernel: its own calibration, the nearest of its architecture, or its class defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.points import Points, Rows
from kvwall.simulator.predicting.defaults import CLASS_DEFAULTS, class_seconds, kernel_class
from kvwall.simulator.predicting.earlier_plans import plans_elsewhere
from kvwall.simulator.predicting.families import family_rows
from kvwall.simulator.predicting.folds import out_of_fold_s
from kvwall.simulator.predicting.lending import KNOWN_PLANS, USUAL, Loan, loan, other_generation, preference
from kvwall.simulator.predicting.machines import Placed, Reach
from kvwall.simulator.predicting.names import framework_of
from kvwall.simulator.predicting.releases import standing_for
from kvwall.simulator.predicting.shape_range import OUTSIDE_SPREAD, Range, outside
from kvwall.simulator.predicting.work import Work
from kvwall.simulator.traffic import Array

if TYPE_CHECKING:
    from kvwall.simulator.predicting.prediction import Kernel

#: Said of a point that is asked for out of fold and cannot be had so.
IN_SAMPLE = "in sample: the calibration keeps no folds"

#: Half of a central 80 % band in standard deviations.
_BAND = 1.2816


@dataclass(frozen=True)
class Fitted:
    """A fit of one kernel family.

    :ivar calibration: its name
    :ivar device: name in the library
    :ivar framework: whose kernel was measured
    :ivar parameters: by name
    :ivar residual: spread of log(predicted/measured) by regime, in the order of :data:`REGIME_BOUNDS_S`
    :ivar folds: parameters fitted without the points of each fold; empty where they were not kept
    :ivar n: points fitted
    :ivar version: of the framework that was measured
    :ivar range: smallest and largest value of each column of the shapes; empty where it was not kept
    """

    calibration: str
    device: str
    framework: str
    family: Family
    parameters: Mapping[str, float]
    residual: tuple[float, float, float]
    folds: tuple[Mapping[str, float], ...] = ()
    n: int = 0
    version: str = ""
    range: Range = field(default_factory=dict)


#: Upper ends of the regimes by ideal time, in seconds.
REGIME_BOUNDS_S = (10e-6, 100e-6)


@dataclass(frozen=True)
class Pricing:
    """Prices of some rows of a group.

    :ivar rows: which rows of the group
    """

    rows: Rows
    low_s: Array
    mid_s: Array
    high_s: Array
    ideal_s: Array
    calibration: str
    note: str = ""


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

    def changed(self, change: Callable[[Fitted], Fitted | None]) -> Chooser:
        """The chooser of what ``change`` makes of each fit; ``None`` leaves it out."""
        fits = (change(fit) for fit in self._fits())
        return Chooser(tuple(fit for fit in fits if fit is not None), out_of_fold=self._out_of_fold)

    @property
    def knows_any(self) -> bool:
        """Whether there is any fit to choose from."""
        return bool(self._by_family)

    @property
    def calibrations(self) -> tuple[str, ...]:
        """Names of the calibrations the fits are from."""
        return tuple(dict.fromkeys(fit.calibration for fit in self._fits()))

    @property
    def devices(self) -> dict[str, str]:
        """The device that each calibration was made on."""
        return {fit.calibration: fit.device for fit in self._fits()}

    def prices(self, kernel: Kernel, points: Points, work: Work, place: Placed, reach: Reach) -> Iterator[Pricing]:
        """The prices of all ``points``, in one or more parts."""
        for name, rows in family_rows(kernel, points, reach).items():
            own, shapes = points.take(rows), work.take(rows)
            found = self._own_plan(name, kernel) or self._on_this_card(kernel, own, reach)
            found = found or self._nearest(name, kernel) or self._stand_in(kernel, own, reach)
            found = found or other_generation(name, kernel, self._fits())
            if found is not None:
                yield self._by_fit(*found, kernel, own, shapes, place, rows)
                continue
            lent = () if place.network else tuple(self.other_plans(kernel, own, shapes, place, reach))
            yield from (replace(pricing, rows=_within(rows, pricing.rows)) for pricing in lent)
            if not lent:
                yield _by_class(kernel, own, shapes, place, rows, self._why_class(name))

    def other_plans(self, kernel: Kernel, points: Points, work: Work, place: Placed, reach: Reach) -> Iterator[Pricing]:
        """The prices of all ``points`` by the plan that their library follows on another generation, if known."""
        for rows, fit, terms in plans_elsewhere(kernel, points, reach, self._fits()):
            yield self._by_fit(fit, terms, kernel, points.take(rows), work.take(rows), place, rows)

    def _why_class(self, family: str) -> str:
        if not self._by_family:
            return ""
        return f"no fit of {family} for this architecture: " if family else "no kernel model: "

    def _nearest(self, family: str, kernel: Kernel) -> tuple[Fitted, Loan] | None:
        """The nearest fit of ``family``."""
        loans = [(fit, loan(fit, kernel)) for fit in self._by_family.get(family, ())]
        near = [(fit, terms) for fit, terms in loans if terms is not None]
        if not near:
            return None
        nearest = min((terms.distance, preference(fit)) for fit, terms in near)
        releases = [(fit, terms) for fit, terms in near if (terms.distance, preference(fit)) == nearest]
        same_framework = framework_of(releases[0][0].framework) == framework_of(kernel.framework)
        stated = kernel.version if same_framework else ""
        return releases[standing_for(stated, [fit.version for fit, _ in releases])]

    def _own_plan(self, family: str, kernel: Kernel) -> tuple[Fitted, Loan] | None:
        """The fit of a kernel of unknown make that was found to follow the plan of a known one."""
        if framework_of(kernel.framework) in USUAL:
            return None
        found = (self._nearest(plan, kernel) for plan in KNOWN_PLANS.get(family, ()))
        return next((pair for pair in found if pair is not None and pair[1].distance == 0), None)

    def _fits(self) -> Iterator[Fitted]:
        return (fit for fits in self._by_family.values() for fit in fits)

    def _on_this_card(self, kernel: Kernel, points: Points, reach: Reach) -> tuple[Fitted, Loan] | None:
        """Where no framework is named, a fit of a better-known one on the very device, before any borrowed one."""
        if kernel.framework:
            return None
        found = self._stand_in(kernel, points, reach)
        return found if found is not None and found[0].device == kernel.device else None

    def _stand_in(self, kernel: Kernel, points: Points, reach: Reach) -> tuple[Fitted, Loan] | None:
        """The fit of a better-known framework's kernel for the same work, where one family serves all points."""
        for framework in USUAL:
            names = tuple(family_rows(replace(kernel, framework=framework), points, reach))
            found = self._nearest(names[0], kernel) if len(names) == 1 else None
            if found is not None:
                return found
        return None

    def _by_fit(
        self,
        fit: Fitted,
        terms: Loan,
        kernel: Kernel,
        points: Points,
        work: Work,
        place: Placed,
        rows: Rows,
    ) -> Pricing:
        machine = place.machine
        note = terms.told
        mid = fit.family.seconds(points, fit.parameters, machine)
        if self._out_of_fold and not terms.told:
            note = "out of fold" if fit.folds else IN_SAMPLE
            mid = out_of_fold_s(fit.family, fit.folds, points, machine) if fit.folds else mid
        ideal = work.ideal_s(machine)
        bound = floor = _floor_s(work, place, points, ideal)
        if terms.told:
            # A borrowed step time knows nothing of a slower matrix unit.
            floor = np.maximum(bound, work.matrix_s(machine) / kernel_class(kernel.kernel)[0].matrix.high)
        mid = np.maximum(mid, floor)
        by_regime = np.hypot(fit.residual, terms.spread)
        inside = by_regime[np.searchsorted(REGIME_BOUNDS_S, ideal, side="right")]
        spread = np.hypot(inside, OUTSIDE_SPREAD * outside(points, fit.range))
        wide = np.exp(_BAND * spread)
        low = np.maximum(mid / wide, bound)
        return Pricing(rows, low, mid, mid * wide, ideal, fit.calibration, note)


def _floor_s(work: Work, place: Placed, points: Points, ideal_s: Array) -> Array:
    """What no prediction may undercut: the data sheet, or with a warm cache all of it but the memory."""
    if not np.any(points.warm):
        return ideal_s
    warm: Array = np.maximum(work.matrix_s(place.machine), work.link_bytes / place.machine.link_bytes_per_s)
    return np.where(np.asarray(points.warm) > 0, warm, ideal_s)


def _within(rows: Rows, part: Rows) -> Rows:
    """The rows that ``part`` of ``rows`` are."""
    return part if rows is ... else rows[part]


def _by_class(kernel: Kernel, points: Points, work: Work, place: Placed, rows: Rows, why: str) -> Pricing:
    priced = class_seconds(kernel.kernel, points, work, place)
    ideal = work.ideal_s(place.machine)
    low, mid, high = (np.maximum(end, ideal) for end in (priced.low, priced.mid, priced.high))
    return Pricing(rows, low, mid, high, ideal, CLASS_DEFAULTS, f"{why}class defaults")
