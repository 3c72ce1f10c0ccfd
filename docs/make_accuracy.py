"""Writes docs/accuracy.md: predictions held against public measurements, beside what was aimed at and three baselines.

Run it from the root of the repository: ``python docs/make_accuracy.py DATA``, with the kernel tables (the columns of
``kvwall predict``) in ``DATA/kernels`` and the serving table in ``DATA/endtoend.csv``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accuracy_beyond import beyond_parts, goal_rows, goals
from accuracy_cells import pair, spread, table
from accuracy_serving import serving_parts
from numpy.typing import NDArray

from kvwall.simulator.answers.agree import agree_table
from kvwall.simulator.answers.predict import predicted_table
from kvwall.simulator.predicting.agreement import Agreement, agreement, regimes
from kvwall.simulator.predicting.fits import chooser_of, shipped
from kvwall.simulator.predicting.prediction import Prediction, predict_kernels
from kvwall.simulator.predicting.table import Table, read_table
from kvwall.validate.baselines import launch_and_two, one_efficiency
from kvwall.validate.point_table import Sample, point_table, read_points
from kvwall.validate.trees import boosted_trees

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Scored:
    """A kernel model on its points, each predicted by the fit of its release that has not seen its shape."""

    sample: Sample
    seconds: NDArray[np.float64]
    model: Agreement
    by_regime: tuple[Agreement | None, ...]
    one: Agreement
    two: Agreement
    trees: Agreement


def scored(sample: Sample, made: Prediction) -> Scored:
    """``sample`` under what was ``made`` of the whole table, and under the three baselines."""
    measured = sample.latency_s
    seconds, low, high = (column[sample.rows] * 1e-6 for column in (made.predicted_us, made.low_us, made.high_us))
    inside = regimes(made.ideal_us[sample.rows])

    def of(rows: NDArray[np.bool_]) -> Agreement | None:
        return agreement(seconds[rows], measured[rows], low[rows], high[rows])

    return Scored(
        sample,
        seconds,
        _known(agreement(seconds, measured, low, high)),
        tuple(of(rows) for rows in inside.values()),
        _known(agreement(one_efficiency(sample), measured, measured, measured)),
        _known(agreement(launch_and_two(sample), measured, measured, measured)),
        _known(agreement(boosted_trees(sample), measured, measured, measured)),
    )


def _known(found: Agreement | None) -> Agreement:
    if found is None:
        raise SystemExit("a sample has no point")
    return found


def all_scored(points: Table, samples: tuple[Sample, ...]) -> list[Scored]:
    """Every one of ``samples`` that a calibration of its own device and framework keeps folds for."""
    known = {(fit.device, fit.framework, fit.family.name) for fit in shipped() if fit.folds}
    made = predict_kernels(points, chooser_of(None, out_of_fold=True))
    own = (sample for sample in samples if (sample.device, sample.framework, sample.family.name) in known)
    found = [scored(sample, made) for sample in own]
    return sorted(found, key=lambda one: (one.sample.family.kernel, one.sample.device, one.sample.framework))


def kernel_rows(found: list[Scored]) -> Iterable[Sequence[str]]:
    """One row per kernel model."""
    for one in found:
        s, m = one.sample, one.model
        yield (
            s.family.name, s.device, s.framework, f"{m.n:,}", spread(m), f"{m.bias * 100:+.1f}",
            f"{m.inside_band * 100:.0f}", *(pair(regime) for regime in one.by_regime), pair(one.two), pair(one.one),
            pair(one.trees),
        )  # fmt: skip


def coverage_rows(folder: Path) -> Iterable[Sequence[str]]:
    """How many rows of each table have a prediction, and whose numbers were used."""
    for path in sorted(folder.glob("*.csv.gz")):
        points = read_table(path)
        if "kernel" not in points.columns:
            continue
        made = predicted_table(points)
        notes, names = made.columns["note"], made.columns["calibration"]
        done = int(np.isfinite(made.middle).sum())
        lent = sum("borrowed" in note for note in notes)
        class_ = sum(name == "uncalibrated" for name in names)
        yield (
            path.name.removesuffix(".csv.gz"), f"{made.table.rows:,}", f"{done / made.table.rows * 100:.1f}",
            f"{done - lent - class_:,}", f"{lent:,}", f"{class_:,}",
        )  # fmt: skip


def borrowed_rows(points: Table) -> Iterable[Sequence[str]]:
    """Errors where no calibration of device and framework exists: what predictions for other machines are worth."""
    made = predicted_table(points)
    notes = made.columns["note"]
    kinds = {"borrowed": "another device's or framework's fit", "class defaults": "class defaults"}
    for mark, told in kinds.items():
        rows = [row for row, note in enumerate(notes) if mark in note]
        if not rows:
            continue
        cells = {column: [points.cells[column][row] for row in rows] for column in points.columns}
        part = Table(points.where, points.columns, cells, {})
        for group in agree_table(part, ("gpu", "framework", "kernel")).groups:
            yield (
                *group.group.values(), told, f"{group.n:,}", pair(group), f"{group.bias * 100:+.0f}",
                f"{group.inside_band * 100:.0f}",
            )  # fmt: skip


def page(data: Path) -> str:
    """The whole page."""
    points = read_points(data / "kernels")
    samples = point_table(points).samples
    found, aims = all_scored(points, samples), goals(ROOT / "docs" / "accuracy_goals.yaml")
    text = (ROOT / "docs" / "accuracy_text.md").read_text(encoding="utf-8")
    head = ("kernel model", "device", "framework", "n", "all", "bias", "in band", "< 10 us", "10-100 us", "> 100 us",
            "launch + 2", "1 efficiency", "boosted trees")  # fmt: skip
    parts = {
        "KERNELS": table(head, kernel_rows(found)),
        "GOALS": table(("kernel model", "device", "framework", "start", "aim", "reached", "kept"),
                       goal_rows(found, aims)),
        "COVERAGE": table(("table", "rows", "predicted %", "own fit", "borrowed", "class defaults"),
                          coverage_rows(data / "kernels")),
        "BORROWED": table(("gpu", "framework", "kernel", "numbers of", "n", "median / p90 %", "bias %", "in band %"),
                          borrowed_rows(points)),
        **serving_parts(data / "endtoend.csv"),
        **beyond_parts(points, samples, aims),
    }  # fmt: skip
    for name, made in parts.items():
        text = text.replace(f"<!-- {name} -->", made)
    return text


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python docs/make_accuracy.py DATA")
    (ROOT / "docs" / "accuracy.md").write_text(page(Path(sys.argv[1])), encoding="utf-8")
