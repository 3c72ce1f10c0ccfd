"""Engine constants from a few served points: host time and routing from TPOT, then the queue from TTFT.

Residuals are ``log(predicted / measured)`` through the product's own closed loop, damped by a soft-L1 loss. Every
constant carries one pseudo-observation at the default of the engine's profile, so that two or three points suffice and
move only what they tell. TTFT of rows that wait for room in the cache tells nothing of the engine and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from kvwall.hardware.engine import Engine
from kvwall.simulator.traffic import Array
from kvwall.validate.served_points import FOLDS, Series, ServedPoint, served

#: Spread of the logarithm of a constant about its default before any point is seen; from what the public series of
#: one engine, and of several, differ by.
PRIORS = {
    "per_step_s": 1.5, "per_sequence_s": 1.0, "per_moe_layer_s": 0.7, "prefill_per_layer_s": 0.5,
    "routing_breadth": 0.5, "own": 0.7, "others": 1.0, "steps": 1.0, "slot": 1.5,
}  # fmt: skip
#: Where the profile says 0: the least that a fit starts from.
_LEAST = {"per_step_s": 50e-6, "per_sequence_s": 5e-6, "per_moe_layer_s": 10e-6, "slot": 0.05, "own": 0.2,
          "others": 0.01, "steps": 1.0}  # fmt: skip
_QUEUE = ("own", "others", "steps", "slot")
#: Spread of the logarithm of repeated measurements, in which residuals are counted.
_TPOT_NOISE, _TTFT_NOISE = 0.05, 0.15
#: Largest routing breadth: independent routing.
_WIDEST = 1.0


@dataclass(frozen=True)
class EngineFit:
    """What a fit found.

    :ivar constants: by name, in seconds and plain numbers
    :ivar log_covariance: of their logarithms, in the same order
    """

    constants: dict[str, float]
    log_covariance: Array


def fit_engine(points: Sequence[ServedPoint], experts: bool, profile: Engine) -> EngineFit:
    """The constants that explain ``points`` of one engine."""
    host = defaults(profile, experts, queue=False)
    timed = [(point, point.tpot_s) for point in points if math.isfinite(point.tpot_s)]
    first = _stage(host, {}, timed, lambda found: found[0], _TPOT_NOISE)
    queued = [(point, point.ttft_s) for point in points if math.isfinite(point.ttft_s) and not point.kv_bound]
    second = _stage(defaults(profile, experts, queue=True), first.constants, queued, lambda f: f[1], _TTFT_NOISE)
    sizes = len(first.constants), len(second.constants)
    covariance = np.zeros((sum(sizes), sum(sizes)))
    covariance[: sizes[0], : sizes[0]] = first.log_covariance
    covariance[sizes[0] :, sizes[0] :] = second.log_covariance
    return EngineFit({**first.constants, **second.constants}, covariance)


def defaults(profile: Engine, experts: bool, queue: bool) -> dict[str, float]:
    """The constants of a profile that a fit may move.

    Within one model a time per layer with experts cannot be told from a time per step: only the former moves.
    """
    if queue:
        kept = profile.serving.queue(experts)
        found = {name: float(getattr(kept, name)) for name in _QUEUE}
    else:
        names = ["per_moe_layer_s" if experts else "per_step_s", "per_sequence_s"]
        if profile.host.prefill_per_layer_s.mid > 0 and not experts:
            names.append("prefill_per_layer_s")
        found = {name: float(getattr(profile.host, name).mid) for name in names}
        if experts:
            found["routing_breadth"] = profile.serving.routing_breadth.mid
    return {name: max(value, _LEAST.get(name, 0.0)) for name, value in found.items()}


def _stage(
    start: Mapping[str, float],
    known: Mapping[str, float],
    measured: Sequence[tuple[ServedPoint, float]],
    pick: Callable[[tuple[float, float]], float],
    noise: float,
) -> EngineFit:
    names, middle = list(start), np.log(list(start.values()))
    sigma = np.array([PRIORS[name] for name in names])
    high = np.array([math.log(_WIDEST) if name == "routing_breadth" else np.inf for name in names])

    def constants(logs: Array) -> dict[str, float]:
        return {**known, **{name: float(np.exp(log)) for name, log in zip(names, logs, strict=True)}}

    def residuals(logs: Array) -> Array:
        told = constants(logs)
        data = [math.log(pick(served(point, told)) / value) / noise for point, value in measured]
        return np.concatenate([np.array(data), (logs - middle) / sigma])

    if not measured:
        return EngineFit(dict(start), np.diag(sigma**2))
    found = least_squares(
        residuals, np.minimum(middle, high - 1e-6), bounds=(np.full(len(names), -np.inf), high), loss="soft_l1",
        diff_step=[1e-3] * len(names), xtol=1e-5, ftol=1e-6, x_scale=0.3,
    )  # fmt: skip
    scale = max(1.0, float(np.median(np.abs(found.fun[: len(measured)])) / 0.6745) ** 2)
    jacobian = np.asarray(found.jac)
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * scale
    told = constants(found.x)
    return EngineFit({name: told[name] for name in names}, np.asarray(covariance, dtype=float))


def unseen(series: Series) -> Array:
    """TPOT and TTFT in seconds of each point by a fit that has not seen its set-up: shape (n, 2).

    NaN where no other set-up was left to fit.
    """
    made = np.full((len(series.points), 2), np.nan)
    for fold in range(FOLDS):
        rest = [point for point in series.points if point.fold != fold]
        held_out = [at for at, point in enumerate(series.points) if point.fold == fold]
        if not rest or not held_out:
            continue
        fit = fit_engine(rest, series.experts, series.profile)
        for at in held_out:
            made[at] = served(series.points[at], fit.constants)
    return made
