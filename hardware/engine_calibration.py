"""Calibrations of an engine: its host time and its queue as fitted to served points, which stand over its profile."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

from pydantic import Field, model_validator

from kvwall.hardware.band import FactorBand, SecondsBand
from kvwall.hardware.calibration import OutOfFold
from kvwall.hardware.document import Sourced, parse_mapping, read_text
from kvwall.hardware.engine import Engine
from kvwall.hardware.errors import InputError, canonical
from kvwall.hardware.library import Library, is_path

#: Half of a central 80 % band in standard deviations.
_BAND = 1.2816

#: Constants of the host, as fields of ``Engine.host``.
HOST = ("per_step_s", "per_sequence_s", "per_moe_layer_s", "prefill_per_layer_s")
#: Constants of the queue, as fields of ``Queue``.
QUEUE = ("own", "others", "steps", "slot")
#: Every constant that served points can tell, in the order of a fit.
CONSTANTS = (*HOST, "routing_breadth", *QUEUE)


class EngineCalibration(Sourced):
    """Constants of one engine that served points tell, and how well they predict.

    :ivar engine: name of the engine, e.g. ``"vllm"``
    :ivar versions: of the engine that was measured
    :ivar models: whose serving was measured, by name
    :ivar experts: whether these are mixtures of experts
    :ivar constants: by name, in seconds and plain numbers; those left out stay as the profile of the engine has them
    :ivar log_covariance: of the logarithms, in the order of ``constants``
    :ivar tpot_spread: factor each way that holds 80 % of TPOT that the fit has not seen; likewise ``ttft_spread``
    :ivar n: points of each metric
    :ivar cross_validated: errors on set-ups that the fit has not seen, by metric, where there were enough
    """

    name: str
    engine: str
    versions: str
    models: tuple[str, ...] = Field(min_length=1)
    experts: bool
    constants: dict[str, float] = Field(min_length=1)
    log_covariance: tuple[tuple[float, ...], ...]
    tpot_spread: float = Field(ge=1, le=100)
    ttft_spread: float = Field(ge=1, le=100)
    n: dict[str, int]
    cross_validated: dict[str, OutOfFold] = Field(default_factory=dict)
    date: str
    comment: str = ""

    @model_validator(mode="after")
    def _check(self) -> EngineCalibration:
        unknown = [name for name in self.constants if name not in CONSTANTS]
        if unknown:
            raise ValueError(f"constants: unknown {unknown[0]!r} (known: {', '.join(CONSTANTS)})")
        size = len(self.constants)
        if len(self.log_covariance) != size or any(len(row) != size for row in self.log_covariance):
            raise ValueError(f"log_covariance is not {size} x {size}, one row and column per constant")
        if any(not value >= 0 for value in self.constants.values()):
            raise ValueError("constants must not be below 0")
        return self

    def spread(self, name: str) -> float:
        """Factor each way that holds 80 % of what a constant may be."""
        at = list(self.constants).index(name)
        return math.exp(_BAND * math.sqrt(max(0.0, self.log_covariance[at][at])))


ENGINE_CALIBRATIONS = Library("kvwall.hardware", "calibrations/engines", "engine calibration", EngineCalibration)


def is_engine(name: str) -> bool:
    """Whether ``name`` is a shipped calibration of an engine, or the file of one."""
    if is_path(name):
        return "constants" in parse_mapping(read_text(Path(name)), name)
    return any(canonical(name) == canonical(known) for known in ENGINE_CALIBRATIONS.names)


def find_engine_calibration(name: str) -> tuple[str, EngineCalibration]:
    """The calibration that ``name`` means, with the name that it resolved to.

    :raises UnknownNameError: no such calibration, with the nearest
    """
    resolved = ENGINE_CALIBRATIONS.resolve(name)
    return resolved, ENGINE_CALIBRATIONS.load(resolved)


def calibrated_engine(engine: Engine, found: EngineCalibration) -> Engine:
    """``engine`` with the constants of ``found`` over its own.

    :raises InputError: the calibration is of another engine
    """
    if found.engine != engine.engine:
        raise InputError(f"--calibration {found.name}: is of the engine {found.engine!r}, not of {engine.engine!r}")
    told, factors = found.constants, {name: found.spread(name) for name in found.constants}
    source = f"calibration {found.name}"
    host = engine.host.model_copy(
        update={
            name: SecondsBand(
                low=told[name] / factors[name], mid=told[name], high=told[name] * factors[name], source=source
            )
            for name in HOST
            if name in told
        }
        | {"source": source}
    )
    kind = "experts" if found.experts else "dense"
    spreads = {"tpot_spread": found.tpot_spread, "ttft_spread": found.ttft_spread, "source": source}
    waits = {name: told[name] for name in QUEUE if name in told}
    queue = getattr(engine.serving, kind).model_copy(update=waits | spreads)
    changes: dict[str, object] = {kind: queue}
    if "routing_breadth" in told:
        mid, factor = told["routing_breadth"], factors["routing_breadth"]
        changes["routing_breadth"] = FactorBand(low=mid / factor, mid=mid, high=mid * factor, source=source)
    serving = engine.serving.model_copy(update=changes)
    return engine.model_copy(update={"host": host, "serving": serving})


@lru_cache(maxsize=1)
def _shipped() -> dict[tuple[str, str], str]:
    """Names of the calibrations that come with kvwall, by engine and model."""
    found = ENGINE_CALIBRATIONS.all()
    return {(one.engine, model): name for name, one in found.items() for model in one.models}


def known_calibration(engine: str, model: str) -> EngineCalibration | None:
    """The calibration that comes with kvwall for ``engine`` serving ``model``; ``None`` where nobody measured it."""
    name = _shipped().get((engine, model))
    return None if name is None else ENGINE_CALIBRATIONS.load(name)
