"""``kvwall predict``: a table of kernels or of serving results with predictions beside each row."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.base import Answer, Part
from kvwall.simulator.engine_constants import named_calibration
from kvwall.simulator.predicting.choosing import Chooser
from kvwall.simulator.predicting.fits import chooser_of
from kvwall.simulator.predicting.prediction import Prediction, Progress, predict_kernels
from kvwall.simulator.predicting.serving import Served, predict_serving
from kvwall.simulator.predicting.table import Table, read_table, require_columns, written
from kvwall.simulator.traffic import Array

#: Digits of a predicted time in a table.
_DIGITS = 5


class PredictedRow(Part):
    """One row: what was predicted of it, ``None`` where nothing was; times in the unit of the table."""

    predicted: float | None
    low: float | None
    high: float | None
    ideal_us: float | None = None
    bound_by: str | None = None
    calibration: str | None = None
    note: str = ""


class PredictAnswer(Answer):
    """Predictions of a table.

    :ivar kind: ``kernels``, with times in microseconds, or ``serving``, in the unit of each row's metric
    :ivar rows: how many rows the table has
    :ivar predicted: how many of them have a prediction
    :ivar calibrations: rows by the calibration that priced them
    :ivar notes: rows by what is said of them
    :ivar results: one per row, in the order of the table
    """

    table: str
    kind: str
    rows: int
    predicted: int
    calibrations: dict[str, int]
    notes: dict[str, int]
    results: tuple[PredictedRow, ...]


@dataclass(frozen=True)
class Predicted:
    """A table with its predictions.

    :ivar columns: added to the table, as text, in order
    :ivar middle: of each row, NaN where there is none; ``low`` and ``high`` likewise
    :ivar ideal_us: of each row; empty in a serving table
    """

    table: Table
    kind: str
    columns: dict[str, list[str]]
    middle: Array
    low: Array
    high: Array
    ideal_us: Array = field(default_factory=lambda: np.empty(0))

    @property
    def csv(self) -> str:
        """The table with the added columns behind its own; one that it has already is replaced."""
        kept = [column for column in self.table.columns if column not in self.columns]
        cells = [*(self.table.cells[column] for column in kept), *self.columns.values()]
        return written([*kept, *self.columns], cells)


def predict(points: str | Path, *, calibration: str | None = None, progress: Progress | None = None) -> PredictAnswer:
    """Predict every row of the CSV file ``points``.

    :param points: CSV, plain or gzipped, with the columns ``gpu`` and ``kernel`` (a kernel table) or ``metric`` (a
        serving table)
    :param calibration: name of the one calibration to use, ``none`` for class defaults; by default the device and the
        framework of each row choose
    :param progress: called with the rows done and their number
    :raises InputError: the file is no such table, or the calibration is unknown
    """
    return answer_of(predicted_table(read_table(Path(points)), calibration, progress))


def predicted_table(table: Table, calibration: str | None = None, progress: Progress | None = None) -> Predicted:
    """``table`` with its predictions."""
    if is_serving(table):
        return _serving(table, predict_serving(table, calibration, progress))
    require_columns(table, ("kernel", "gpu"))
    if calibration is not None and named_calibration(calibration) is not None:
        raise InputError(f"--calibration {calibration}: is of an engine, and {table.where} holds kernels alone")
    return kernel_table(table, chooser_of(calibration), progress)


def kernel_table(table: Table, chooser: Chooser, progress: Progress | None = None) -> Predicted:
    """A kernel table with its predictions."""
    found: Prediction = predict_kernels(table, chooser, progress)
    columns = {
        "predicted_us": _texts(found.predicted_us),
        "low_us": _texts(found.low_us),
        "high_us": _texts(found.high_us),
        "ideal_us": _texts(found.ideal_us),
        "bound_by": list(found.bound_by),
        "calibration": list(found.calibration),
        "note": list(found.note),
    }
    return Predicted(table, "kernels", columns, found.predicted_us, found.low_us, found.high_us, found.ideal_us)


def is_serving(table: Table) -> bool:
    """Whether the rows are serving results: they name a metric instead of a kernel."""
    return "metric" in table.columns and "kernel" not in table.columns


def answer_of(made: Predicted) -> PredictAnswer:
    """What ``--json`` prints."""
    shown = made.columns
    calibrations = shown.get("calibration", [])
    notes = Counter(note for note in shown["note"] if note)
    ideal = made.ideal_us if made.kind == "kernels" else np.full(made.middle.shape, np.nan)
    results = tuple(
        PredictedRow(
            predicted=_number(made.middle[row]),
            low=_number(made.low[row]),
            high=_number(made.high[row]),
            ideal_us=_number(ideal[row]),
            bound_by=(shown["bound_by"][row] or None) if "bound_by" in shown else None,
            calibration=(calibrations[row] or None) if calibrations else None,
            note=shown["note"][row],
        )
        for row in range(made.table.rows)
    )
    return PredictAnswer(
        table=made.table.where,
        kind=made.kind,
        rows=made.table.rows,
        predicted=int(np.isfinite(made.middle).sum()),
        calibrations=dict(Counter(name for name in calibrations if name).most_common()),
        notes=dict(notes.most_common(50)),
        results=results,
        assumptions=_assumptions(made.kind),
    )


def _assumptions(kind: str) -> tuple[str, ...]:
    if kind == "serving":
        return ("closed loop: every user has one request in flight", "a prefill of the others rides in one's own steps")
    return ("ideal_us is the data sheet's bound with a cold cache", "cache is warm where the table does not say cold")


def _serving(table: Table, found: Served) -> Predicted:
    columns = {
        "predicted": _texts(found.predicted),
        "low": _texts(found.low),
        "high": _texts(found.high),
        "note": list(found.note),
    }
    return Predicted(table, "serving", columns, found.predicted, found.low, found.high)


def _texts(values: Array) -> list[str]:
    """Numbers of five digits; nothing for NaN."""
    return ["" if value != value else f"{value:.{_DIGITS}g}" for value in values.tolist()]


def _number(value: Any) -> float | None:
    plain = float(value)
    return plain if np.isfinite(plain) else None
