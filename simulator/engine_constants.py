"""Which host time and queue an engine gets: those of a calibration, of a measured model, or its profile's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kvwall.hardware.document import parse_mapping, read_text
from kvwall.hardware.engine import Engine
from kvwall.hardware.engine_calibration import (
    ENGINE_CALIBRATIONS,
    EngineCalibration,
    calibrated_engine,
    known_calibration,
)
from kvwall.hardware.errors import canonical

#: Least factor each way of a TPOT elsewhere than on the machine of a calibration that comes with kvwall, whose own
#: series it predicts within 1.11 (90 %). How requests arrive elsewhere it does not tell: the TTFT keeps its band.
_ELSEWHERE = 1.12


@dataclass(frozen=True)
class EngineConstants:
    """An engine with its constants.

    :ivar engine: profile, with the constants of a calibration where one is known
    :ivar kernels: what ``--calibration`` leaves to choose the kernels by
    :ivar calibration: name of the engine calibration; ``None`` for the profile's own constants
    """

    engine: Engine
    kernels: str
    calibration: str | None = None


def engine_constants(engine: Engine, model: str, calibration: str) -> EngineConstants:
    """``engine`` as ``--calibration`` and the model choose its constants.

    :param model: name of the model
    :param calibration: an engine calibration by name or path; ``none`` for the profile's constants; ``auto``, or the
        name of a kernel calibration, takes what comes with kvwall for this engine and model
    :raises InputError: the calibration is of another engine, or damaged
    """
    named = named_calibration(calibration)
    if named is not None:
        return EngineConstants(calibrated_engine(engine, named), "auto", named.name)
    if canonical(calibration) == "none":
        return EngineConstants(engine, calibration)
    known = known_calibration(engine.engine, model)
    if known is None:
        return EngineConstants(engine, calibration)
    queue = engine.serving.queue(known.experts)
    elsewhere = {"tpot_spread": max(known.tpot_spread, _ELSEWHERE), "ttft_spread": queue.ttft_spread}
    return EngineConstants(calibrated_engine(engine, known.model_copy(update=elsewhere)), calibration, known.name)


def named_calibration(calibration: str) -> EngineCalibration | None:
    """The engine calibration that ``calibration`` names or holds; ``None`` where it is something else."""
    if calibration.endswith((".yaml", ".yml")):
        mapping = parse_mapping(read_text(Path(calibration)), calibration)
        return ENGINE_CALIBRATIONS.load(calibration) if "constants" in mapping else None
    return ENGINE_CALIBRATIONS.load(calibration) if calibration in ENGINE_CALIBRATIONS.names else None
