"""``kvwall calibrate`` on a serving table: the host time and the queue of an engine from a few served points."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console
from rich.text import Text

from kvwall.hardware.calibration import OutOfFold
from kvwall.hardware.engine_calibration import EngineCalibration
from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.base import Answer, Part
from kvwall.simulator.cli.output import save, table
from kvwall.simulator.predicting.table import Table
from kvwall.simulator.traffic import Array
from kvwall.validate.served_points import Series, series_of, served
from kvwall.validate.serving_fit import fit_engine, unseen

#: Points of one metric from which the errors on unseen set-ups are told and set the band.
FEWEST_POINTS = 10
#: Factor each way that held 80 % of unseen points where a whole series was fitted: the least band of a few points.
_FEW = {"tpot": 1.12, "ttft": 1.5}
_METRICS = ("tpot", "ttft")


class FittedEngine(Part):
    """Constants of one engine serving one model; errors are fractions.

    :ivar unseen: median and 90th percentile on set-ups that the fit has not seen; ``None`` where points are too few
    :ivar kv_bound: points whose TTFT is the wait for room in the cache and was left out
    """

    engine: str
    model: str
    n: dict[str, int]
    constants: dict[str, float]
    in_sample_median: dict[str, float | None]
    unseen: dict[str, tuple[float, float] | None]
    kv_bound: int
    written: str


class ServingAnswer(Answer):
    """What was fitted, and where it was written.

    :ivar left_out: rows that no fit uses, by reason
    """

    table: str
    rows: int
    left_out: dict[str, int]
    fits: tuple[FittedEngine, ...]


def calibrate_serving(points: Table, output: Path, date: str) -> ServingAnswer:
    """Fit every engine and model of a serving table, and write one calibration for each.

    A single one goes to ``output``; several go beside it, as ``NAME.ENGINE.MODEL.yaml``.

    :raises InputError: the table has no column of measured values, or no row that can be used
    """
    missing = [name for name in ("model", "gpu", "engine", "metric", "value") if name not in points.columns]
    if missing:
        raise InputError(f"{points.where}: the column {missing[0]!r} is missing; a serving table has model, gpu, tp, "
                         "concurrency, input_len, output_len, engine, metric and value")  # fmt: skip
    found, left_out = series_of(points)
    fits = []
    for series in found:
        path = output if len(found) == 1 else output.with_name(f"{output.stem}.{series.engine}.{series.model}.yaml")
        document, row = engine_calibration(series, path, f"fitted to {Path(points.where).name}", date)
        save(path, document_text(document))
        fits.append(row)
    return ServingAnswer(
        table=points.where,
        rows=points.rows,
        left_out=left_out,
        fits=tuple(fits),
        assumptions=(
            "constants start at the engine profile's and move as far as the points tell",
            "errors are on set-ups that the fit has not seen: five folds",
        ),
    )


def engine_calibration(series: Series, path: Path, source: str, date: str) -> tuple[EngineCalibration, FittedEngine]:
    """The calibration of one series, and what is told of it."""
    fit = fit_engine(series.points, series.experts, series.profile)
    measured = np.array([(point.tpot_s, point.ttft_s) for point in series.points])
    bound = np.array([point.kv_bound for point in series.points])
    measured[bound, 1] = np.nan
    errors = np.log(np.array([served(point, fit.constants) for point in series.points]) / measured)
    n = {name: int(np.isfinite(errors[:, at]).sum()) for at, name in enumerate(_METRICS)}
    held = np.log(unseen(series) / measured) if max(n.values()) >= FEWEST_POINTS else np.full(errors.shape, np.nan)
    crossed = {
        name: _out_of_fold(held[:, at])
        for at, name in enumerate(_METRICS)
        if n[name] >= FEWEST_POINTS and np.isfinite(held[:, at]).any()
    }
    spread = {
        name: _spread(held[:, at] if name in crossed else errors[:, at], 1.0 if name in crossed else _FEW[name])
        for at, name in enumerate(_METRICS)
    }
    document = EngineCalibration(
        name=path.stem,
        engine=series.engine,
        versions=", ".join(series.versions) or "not stated",
        models=(series.model,),
        experts=series.experts,
        constants={name: _rounded(value) for name, value in fit.constants.items()},
        log_covariance=tuple(tuple(_rounded(cell) for cell in row) for row in fit.log_covariance),
        tpot_spread=spread["tpot"],
        ttft_spread=spread["ttft"],
        n=n,
        cross_validated=crossed,
        date=date,
        source=source,
    )
    return document, FittedEngine(
        engine=series.engine,
        model=series.model,
        n=n,
        constants=document.constants,
        in_sample_median={name: _median(errors[:, at]) for at, name in enumerate(_METRICS)},
        unseen={name: (crossed[name].median, crossed[name].p90) if name in crossed else None for name in _METRICS},
        kv_bound=int(bound.sum()),
        written=str(path),
    )


def _relative(logs: Array) -> Array:
    return np.asarray(np.exp(logs[np.isfinite(logs)]) - 1)


def _median(logs: Array) -> float | None:
    found = np.abs(_relative(logs))
    return _rounded(float(np.median(found))) if found.size else None


def _out_of_fold(logs: Array) -> OutOfFold:
    found = _relative(logs)
    return OutOfFold(
        median=_rounded(float(np.median(np.abs(found)))),
        p90=_rounded(float(np.quantile(np.abs(found), 0.9))),
        bias=_rounded(float(np.median(found))),
    )


def _spread(logs: Array, least: float) -> float:
    """Factor each way that holds 80 % of the errors; with ``least`` in quadrature where few points tell little."""
    known = np.abs(logs[np.isfinite(logs)])
    told = float(np.quantile(known, 0.8)) if known.size else 0.0
    return _rounded(math.exp(math.hypot(told, math.log(least))))


def _rounded(value: float) -> float:
    return float(f"{float(value):.4g}")


class _Row(list[float]):
    """A list on one line."""


class _Dumper(yaml.SafeDumper):
    """Block style, but for rows of numbers."""


_Dumper.add_representer(_Row, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, True))


def document_text(document: EngineCalibration) -> str:
    """The YAML of a calibration, with its keys in the order of the document."""
    data = document.model_dump()
    data["models"] = list(document.models)
    data["log_covariance"] = [_Row(row) for row in document.log_covariance]
    order = ("name", "engine", "versions", "models", "experts", "source")
    kept = {key: data[key] for key in order} | {key: value for key, value in data.items() if key not in order}
    if not document.comment:
        del kept["comment"]
    text: str = yaml.dump(kept, Dumper=_Dumper, sort_keys=False, width=400, allow_unicode=True)
    return text


def render(answer: ServingAnswer, screen: Console) -> None:
    """The constants of each fit with its errors."""
    for fit in answer.fits:
        points = f"{fit.n['tpot']} TPOT and {fit.n['ttft']} TTFT points"
        screen.print(Text(f"{fit.engine} serving {fit.model}: {points}", style="bold"))
        cells = [(name, _constant(name, value)) for name, value in fit.constants.items()]
        screen.print(table("", ("constant", "value"), cells))
        for name in _METRICS:
            screen.print(f"{name.upper()}: {_errors(fit, name)}")
        if fit.kv_bound:
            screen.print(f"{fit.kv_bound} points wait for room in the cache: their TTFT was left out")
        screen.print(f"written: {fit.written}")
    if answer.left_out:
        screen.print(table("", ("left out because", "rows"), [(w, f"{n:,}") for w, n in answer.left_out.items()]))


def _constant(name: str, value: float) -> str:
    return f"{value * 1e6:.4g} us" if name.endswith("_s") else f"{value:.3g}"


def _errors(fit: FittedEngine, name: str) -> str:
    seen, held = fit.in_sample_median[name], fit.unseen[name]
    if seen is None:
        return "no point: constants of the engine profile"
    told = f"median error {seen * 100:.1f} % on the points fitted"
    if held is None:
        return f"{told}; too few to hold any out"
    return f"{told}; {held[0] * 100:.1f} % (p90 {held[1] * 100:.1f} %) on set-ups not seen"
