"""``kvwall agree``: predictions against what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.base import Answer, Part
from kvwall.simulator.answers.predict import Predicted, is_serving, kernel_table, predicted_table
from kvwall.simulator.predicting.agreement import agreement, groups, regimes
from kvwall.simulator.predicting.choosing import IN_SAMPLE
from kvwall.simulator.predicting.fits import chooser_of
from kvwall.simulator.predicting.prediction import Progress
from kvwall.simulator.predicting.table import Table, numbers, read_table, require_columns

#: Nothing that is measured takes less, in microseconds or milliseconds.
_LEAST_MEASURED = 1e-3


class AgreementRow(Part):
    """Agreement of some of the points; errors are fractions.

    :ivar group: values of the columns that make the group, or the regime
    :ivar n: points compared
    :ivar median: of ``|predicted / measured - 1|``; ``p90`` and ``p99`` likewise
    :ivar bias: median of ``predicted / measured - 1``
    :ivar inside_band: share of the measured values inside the 80 % band
    :ivar median_interval: central 95 % over bootstrap resamples; ``p90_interval`` likewise
    """

    group: dict[str, str]
    n: int
    median: float
    p90: float
    p99: float
    bias: float
    inside_band: float
    median_interval: tuple[float, float]
    p90_interval: tuple[float, float]


class AgreeAnswer(Answer):
    """How far predictions lie from measurements.

    :ivar rows: of the table
    :ivar flagged: rows with a flag, left out
    :ivar unmeasured: rows without a measured value, or with one of next to zero, left out
    :ivar unpredicted: rows without a prediction, left out, by reason
    :ivar overall: all points compared; ``None`` where there is none
    :ivar by_regime: kernel tables only
    :ivar groups: by the columns that were asked for
    """

    table: str
    kind: str
    out_of_fold: bool
    rows: int
    flagged: int
    unmeasured: int
    unpredicted: dict[str, int]
    overall: AgreementRow | None
    by_regime: tuple[AgreementRow, ...]
    groups: tuple[AgreementRow, ...]


def agree(
    points: str | Path,
    *,
    by: Sequence[str] = (),
    out_of_fold: bool = False,
    calibration: str | None = None,
    progress: Progress | None = None,
) -> AgreeAnswer:
    """Compare predictions of every row of ``points`` with its ``latency_us``, or ``value`` in a serving table.

    :param by: columns to group by, besides the regime
    :param out_of_fold: predict each point by a fit that has not seen its shape
    :param calibration: name of the one calibration to use, ``none`` for class defaults
    :param progress: called with the rows done and their number
    :raises InputError: the file is no such table, a column is missing, or the calibration is unknown
    """
    return agree_table(read_table(Path(points)), by, out_of_fold, calibration, progress)


def agree_table(
    table: Table,
    by: Sequence[str] = (),
    out_of_fold: bool = False,
    calibration: str | None = None,
    progress: Progress | None = None,
) -> AgreeAnswer:
    """:func:`agree` on a table that was read."""
    serving = is_serving(table)
    if serving and out_of_fold:
        raise InputError("--out-of-fold: a serving table has no folds, its constants are not fitted to it")
    measured_in = "value" if serving else "latency_us"
    require_columns(table, (measured_in, *by))
    if serving:
        made = predicted_table(table, calibration, progress)
    else:
        require_columns(table, ("kernel", "gpu"))
        made = kernel_table(table, chooser_of(calibration, out_of_fold=out_of_fold), progress)
    return _compare(made, numbers(table.text(measured_in)).values, by, out_of_fold)


def _compare(made: Predicted, measured: NDArray[np.float64], by: Sequence[str], out_of_fold: bool) -> AgreeAnswer:
    table = made.table
    flagged = np.array([bool(flag.strip()) for flag in table.text("flag")])
    missing = ~flagged & ~(measured >= _LEAST_MEASURED)
    notes = np.array(made.columns["note"], dtype=object)
    unseen = np.isfinite(made.middle)
    kept = np.flatnonzero(~flagged & ~missing & unseen)
    lacking = np.flatnonzero(~flagged & ~missing & ~unseen)
    by_regime = []
    if made.kind == "kernels":
        for name, inside in regimes(made.ideal_us).items():
            by_regime.append(_row({"regime": name}, made, measured, kept[inside[kept]]))
    found = groups([[table.cells[column][row] for row in kept] for column in by]) if by and kept.size else []
    rows = (_row(dict(zip(by, values, strict=True)), made, measured, kept[inside]) for values, inside in found)
    return AgreeAnswer(
        table=table.where,
        kind=made.kind,
        out_of_fold=out_of_fold,
        rows=table.rows,
        flagged=int(flagged.sum()),
        unmeasured=int(missing.sum()),
        unpredicted=_counted([str(notes[row]) for row in lacking]),
        overall=_row({}, made, measured, kept),
        by_regime=tuple(row for row in by_regime if row is not None),
        groups=tuple(row for row in rows if row is not None),
        warnings=_warnings(notes[kept], out_of_fold),
    )


def _row(
    group: dict[str, str], made: Predicted, measured: NDArray[np.float64], rows: NDArray[np.int64]
) -> AgreementRow | None:
    found = agreement(made.middle[rows], measured[rows], made.low[rows], made.high[rows])
    return None if found is None else AgreementRow(group=group, **asdict(found))


def _warnings(notes: NDArray[np.object_], out_of_fold: bool) -> tuple[str, ...]:
    if not out_of_fold:
        return (
            "in sample where a calibration was fitted to these points: --out-of-fold tells the error on unseen ones",
        )
    seen = sum(IN_SAMPLE in note for note in notes)
    return (f"{seen} points are in sample: their calibration keeps no folds",) if seen else ()


def _counted(reasons: list[str]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for reason in reasons:
        counted[reason] = counted.get(reason, 0) + 1
    return dict(sorted(counted.items(), key=lambda item: -item[1])[:20])
