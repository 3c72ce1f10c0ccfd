"""Fit the few numbers of a kernel family to measured latencies, and predict points that a fit has not seen.

The residual is ``log(predicted / measured)``: an error of 5 % weighs the same on 10 us and on 10 ms. Outliers are
damped by a soft-L1 loss. Each parameter carries one pseudo-observation at its default, so that a number which the
points do not touch stays where it is credible instead of running to a bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from kvwall.hardware.calibration import KernelFit, OutOfFold
from kvwall.hardware.errors import InputError
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.folds import fold_of
from kvwall.simulator.traffic import Array

#: Bounds in seconds of the regimes by ideal time: launch-bound, between, and bound by the machine.
_REGIMES = {"below 10 us": (0.0, 10e-6), "10 to 100 us": (10e-6, 100e-6), "above 100 us": (100e-6, np.inf)}

#: Spread of the logarithm of repeated measurements, in which residuals are counted.
_NOISE = 0.05

#: A parameter closer than this to a bound (in log) is reported as being at it.
_AT_BOUND = 0.01

#: Points of a regime below which its spread is taken over all points.
_FEWEST = 10


@dataclass(frozen=True)
class Fit:
    """What a fit found.

    :ivar parameters: by name, in their own units
    :ivar log_covariance: of the logarithms of the parameters, in the order of ``parameters``
    :ivar residual: half-width of the central 80 % of log(predicted/measured) divided by 1.28, by regime
    :ivar at_bound: parameters that the points do not identify
    :ivar n: points fitted
    """

    parameters: dict[str, float]
    log_covariance: Array
    residual: dict[str, float]
    at_bound: tuple[str, ...]
    n: int


def fit_family(family: Family, points: Points, latency_s: Array, machine: Machine, *, prior_sigma: float = 0.7) -> Fit:
    """The parameters of ``family`` that explain ``latency_s``.

    :param latency_s: measured seconds, one per point
    :param prior_sigma: spread of the logarithm of each parameter about its default, before any point is seen
    :raises InputError: no points, or a latency that is not positive and finite
    """
    measured = np.asarray(latency_s, dtype=float)
    if measured.size == 0 or not np.all(np.isfinite(measured) & (measured > 0)):
        raise InputError(f"{family.name}: a fit needs at least one latency, all positive and finite")
    low, high, start = (
        np.log([getattr(parameter, bound) for parameter in family.parameters]) for bound in ("low", "high", "default")
    )

    def residuals(logs: Array) -> Array:
        data = np.log(family.seconds(points, _named(family, logs), machine) / measured) / _NOISE
        return np.concatenate([np.broadcast_to(data, measured.shape), (logs - start) / prior_sigma])

    found = least_squares(
        residuals, start, bounds=(low - 1e-9, high + 1e-9), loss="soft_l1", x_scale=0.3, xtol=1e-6, ftol=1e-7
    )
    errors = residuals(found.x)[: measured.size] * _NOISE
    near = np.minimum(found.x - low, high - found.x) < _AT_BOUND
    return Fit(
        parameters=_named(family, found.x),
        log_covariance=_covariance(np.asarray(found.jac), found.fun, measured.size),
        residual=residual_by_regime(errors, family.ideal_seconds(points, machine)),
        at_bound=tuple(p.name for p, at in zip(family.parameters, near, strict=True) if at),
        n=int(measured.size),
    )


def cross_validate(
    family: Family,
    points: Points,
    latency_s: Array,
    machine: Machine,
    groups: NDArray[np.int64],
    *,
    prior_sigma: float = 0.7,
) -> Array:
    """Seconds of each point as predicted by a fit to the points of all other ``groups``."""
    predicted = np.zeros(np.shape(latency_s))
    for group in np.unique(groups):
        held_out = groups == group
        fit = fit_family(family, points.take(~held_out), latency_s[~held_out], machine, prior_sigma=prior_sigma)
        predicted[held_out] = family.seconds(points.take(held_out), fit.parameters, machine)
    return predicted


def calibrate_family(
    family: Family, points: Points, latency_s: Array, machine: Machine, *, source: str, date: str, folds: int = 5
) -> tuple[KernelFit, Array]:
    """A fit to all points with the errors of a cross-validation by shape, and the out-of-fold seconds of each point.

    :param source: where the points are from
    :param date: of the fit
    :raises InputError: fewer shapes than folds, or what :func:`fit_family` refuses
    """
    groups = fold_of(points, folds)
    if np.unique(groups).size < 2:
        raise InputError(f"{family.name}: the points have too few shapes to hold any out")
    fit = fit_family(family, points, latency_s, machine)
    predicted = cross_validate(family, points, latency_s, machine, groups)
    ratios = predicted / np.asarray(latency_s)
    spread = residual_by_regime(np.log(ratios), family.ideal_seconds(points, machine))
    unidentified = ", ".join(fit.at_bound)
    document = KernelFit(
        family=family.name,
        parameters={name: _rounded(value) for name, value in fit.parameters.items()},
        log_covariance=tuple(tuple(_rounded(cell) for cell in row) for row in fit.log_covariance),
        residual={regime: _rounded(value) for regime, value in spread.items()},
        n=fit.n,
        cross_validated=OutOfFold(
            median=_rounded(np.median(np.abs(ratios - 1))),
            p90=_rounded(np.quantile(np.abs(ratios - 1), 0.9)),
            bias=_rounded(np.median(ratios) - 1),
        ),
        points=source,
        date=date,
        comment=f"at a bound: {unidentified}" if unidentified else "",
    )
    return document, predicted


def residual_by_regime(log_errors: Array, ideal_s: Array) -> dict[str, float]:
    """Spread (as a normal sigma, from the 10th and 90th percentile) of ``log_errors`` by regime of the ideal time."""
    ideal = np.broadcast_to(ideal_s, np.shape(log_errors))
    spread = {}
    for name, (low, high) in _REGIMES.items():
        inside = log_errors[(ideal >= low) & (ideal < high)]
        chosen = inside if inside.size >= _FEWEST else log_errors
        spread[name] = float((np.quantile(chosen, 0.9) - np.quantile(chosen, 0.1)) / 2 / 1.2816)
    return spread


def _rounded(value: float) -> float:
    return float(f"{float(value):.4g}")


def _named(family: Family, logs: Array) -> dict[str, float]:
    return {parameter.name: float(np.exp(log)) for parameter, log in zip(family.parameters, logs, strict=True)}


def _covariance(jacobian: Array, residuals: Array, n: int) -> Array:
    scale = max(1.0, float(np.median(np.abs(residuals[:n])) / 0.6745) ** 2)
    return np.asarray(np.linalg.pinv(jacobian.T @ jacobian) * scale, dtype=float)
