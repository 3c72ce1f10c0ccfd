"""``kvwall calibrate``: kernel models fitted to measured times, with the error on shapes that a fit has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from kvwall.hardware.calibration import KernelFit, OutOfFold
from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import InputError
from kvwall.hardware.library import is_path
from kvwall.simulator.answers.base import Answer, Part
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.predicting.agreement import Agreement, agreement
from kvwall.simulator.predicting.choosing import Fitted
from kvwall.simulator.predicting.fits import shipped
from kvwall.simulator.predicting.folds import out_of_fold_s
from kvwall.simulator.predicting.shape_range import range_of
from kvwall.simulator.traffic import Array
from kvwall.validate.fit import Fit, fit_family, residual_by_regime
from kvwall.validate.known_plans import FEWEST_POINTS, planned
from kvwall.validate.point_table import PointTable, Sample

Progress = Callable[[int, int], None]

#: A spread that is added to the band of a fit whose error on unseen shapes could not be had.
_UNTESTED_SPREAD = 0.2


class FittedRow(Part):
    """One kernel model that was fitted; errors are fractions.

    :ivar parameters: by name, in their own units
    :ivar at_bound: parameters that the points do not identify
    :ivar median: of ``|predicted / measured - 1|`` on unseen shapes; ``None`` where they were too few to hold any out
    :ivar in_sample_median: likewise on the points that were fitted
    :ivar note: what was done otherwise than usual
    """

    device: str
    framework: str
    family: str
    n: int
    parameters: dict[str, float]
    at_bound: tuple[str, ...]
    in_sample_median: float
    median: float | None
    p90: float | None
    bias: float | None
    median_interval: tuple[float, float] | None
    p90_interval: tuple[float, float] | None
    note: str = ""


class CalibrateAnswer(Answer):
    """What was fitted, and where it was written.

    :ivar left_out: rows that no fit uses, by reason
    :ivar written: the calibrations and their folds
    """

    table: str
    rows: int
    used: int
    left_out: dict[str, int]
    fits: tuple[FittedRow, ...]
    written: tuple[str, ...]


@dataclass(frozen=True)
class Made:
    """A fit with all that is written of it."""

    sample: Sample
    document: KernelFit
    folds: tuple[dict[str, float], ...]
    row: FittedRow


def calibrate_points(found: PointTable, date: str, progress: Progress | None = None) -> tuple[Made, ...]:
    """A fit of every sample of ``found``.

    :param date: of the fit, as it stands in the calibration
    :raises InputError: no point can be used; names the commonest reasons
    """
    if not found.samples:
        reasons = "; ".join(f"{count:,} rows: {why}" for why, count in list(found.left_out.items())[:3])
        raise InputError(f"{found.where}: has no point to fit ({reasons})")
    made = []
    for done, sample in enumerate(found.samples):
        made.append(fitted(sample, date))
        if progress is not None:
            progress(done + 1, len(found.samples))
    return tuple(made)


def fitted(sample: Sample, date: str, lenders: Iterable[Fitted] | None = None) -> Made:
    """The fit of one sample; a kernel of unknown make may take the plan of a known one.

    :param lenders: fits whose plans may be taken; all that ship with kvwall unless said otherwise
    """
    notes: list[str] = []
    unplanned = sample.family.name
    sample, folds = planned(sample, shipped() if lenders is None else lenders)
    if sample.family.name != unplanned:
        notes.append(f"follows the plan of {sample.family.name} better than {unplanned}")
    family = sample.family
    few = sample.latency_s.size < FEWEST_POINTS
    free = _two_numbers(family) if few else family
    if few:
        names = " and ".join(parameter.name for parameter in free.parameters)
        notes.append(f"fewer than {FEWEST_POINTS} points: only {names} fitted, the rest at its defaults")
    if sample.latency_s.size == 1:
        notes[-1] = f"a single point: {names} made to go through it, which tells nothing of other shapes"
    fit = _refuse_singular(fit_family(free, sample.points, sample.latency_s, sample.machine), sample)
    whole = _with_defaults(family, fit.parameters)
    if not folds and not few:
        notes.append("too few shapes to hold any out")
    if sample.uneven:
        notes.append(f"{sample.uneven} repeats differ by over 25 % from their shape's median")
    seconds = family.seconds(sample.points, whole, sample.machine)
    unseen = out_of_fold_s(family, folds, sample.points, sample.machine) if folds else seconds
    errors = _errors(unseen, sample.latency_s)
    spread = residual_by_regime(np.log(unseen / sample.latency_s), family.ideal_seconds(sample.points, sample.machine))
    if not folds:
        spread = {regime: float(np.hypot(value, _UNTESTED_SPREAD)) for regime, value in spread.items()}
    document = KernelFit(
        family=family.name,
        parameters={name: _rounded(value) for name, value in whole.items()},
        log_covariance=_covariance(family, free, fit),
        residual={regime: _rounded(value) for regime, value in spread.items()},
        n=fit.n,
        range=range_of(sample.points),
        cross_validated=OutOfFold(median=_rounded(errors.median), p90=_rounded(errors.p90), bias=_rounded(errors.bias)),
        points=", ".join(sample.sources) or "source not stated",
        date=date,
        comment="; ".join([*notes, *([f"at a bound: {', '.join(fit.at_bound)}"] if fit.at_bound else [])]),
    )
    return Made(sample, document, folds, _row(sample, document, fit, seconds, errors if folds else None, notes))


def _row(
    sample: Sample, document: KernelFit, fit: Fit, seconds: Array, unseen: Agreement | None, notes: list[str]
) -> FittedRow:
    return FittedRow(
        device=shown(sample.device),
        framework=sample.framework,
        family=document.family,
        n=document.n,
        parameters=document.parameters,
        at_bound=fit.at_bound,
        in_sample_median=_errors(seconds, sample.latency_s).median,
        median=unseen.median if unseen else None,
        p90=unseen.p90 if unseen else None,
        bias=unseen.bias if unseen else None,
        median_interval=unseen.median_interval if unseen else None,
        p90_interval=unseen.p90_interval if unseen else None,
        note="; ".join(notes),
    )


def _two_numbers(family: Family) -> Family:
    """``family`` with a launch and one efficiency free, all other numbers at their defaults."""
    launch = next((p for p in family.parameters if p.name.startswith("launch")), family.parameters[0])
    rest = [p for p in family.parameters if p is not launch]
    efficiency = next((p for p in rest if p.name.endswith("_fraction")), rest[0] if rest else None)
    free = (launch,) if efficiency is None else (launch, efficiency)
    return replace(
        family,
        parameters=free,
        seconds=lambda points, values, machine: family.seconds(points, _with_defaults(family, values), machine),
    )


def _with_defaults(family: Family, values: Mapping[str, float]) -> dict[str, float]:
    return {parameter.name: values.get(parameter.name, parameter.default) for parameter in family.parameters}


def _covariance(family: Family, free: Family, fit: Fit) -> tuple[tuple[float, ...], ...]:
    """Covariance of the logarithms of all parameters; one that was not fitted keeps the spread of its prior."""
    names = [parameter.name for parameter in family.parameters]
    whole = np.diag(np.full(len(names), 0.7**2))
    places = [names.index(parameter.name) for parameter in free.parameters]
    whole[np.ix_(places, places)] = fit.log_covariance
    return tuple(tuple(_rounded(cell) for cell in row) for row in whole)


def _refuse_singular(fit: Fit, sample: Sample) -> Fit:
    if not np.all(np.isfinite(list(fit.parameters.values()))) or not np.all(np.isfinite(fit.log_covariance)):
        raise InputError(
            f"{sample.family.name} of {sample.framework} on {shown(sample.device)}: the "
            f"{sample.latency_s.size} points do not determine a fit"
        )
    return fit


def _errors(seconds: Array, measured_s: Array) -> Agreement:
    found = agreement(np.asarray(seconds), measured_s, measured_s, measured_s)
    if found is None:
        raise InputError("a fit needs at least one point")
    return found


def _rounded(value: float) -> float:
    return float(f"{float(value):.4g}")


def shown(device: str) -> str:
    """What a device is called in answers: its id, or what its own data sheet calls it."""
    return DEVICES.load(device).name if is_path(device) else device
