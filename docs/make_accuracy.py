"""Writes docs/accuracy.md: predictions held against public measurements, beside what was aimed at and two baselines.

Run it from the root of the repository: ``python docs/make_accuracy.py DATA``, with the kernel tables (the columns of
``kvwall predict``) in ``DATA/kernels`` and the serving table in ``DATA/endtoend.csv``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kvwall.hardware.document import parse_mapping, read_text
from kvwall.simulator.answers.agree import AgreementRow, agree_table
from kvwall.simulator.answers.predict import predicted_table
from kvwall.simulator.predicting.agreement import Agreement, agreement, regimes
from kvwall.simulator.predicting.choosing import Fitted
from kvwall.simulator.predicting.fits import shipped
from kvwall.simulator.predicting.folds import out_of_fold_s
from kvwall.simulator.predicting.table import Table, read_table
from kvwall.validate.baselines import launch_and_two, one_efficiency
from kvwall.validate.point_table import Sample, point_table, read_points

ROOT = Path(__file__).resolve().parent.parent
BAND = 1.2816


@dataclass(frozen=True)
class Scored:
    """A kernel model on the points it was fitted to, each predicted by a fit that has not seen its shape."""

    sample: Sample
    model: Agreement
    by_regime: tuple[Agreement | None, ...]
    one: Agreement
    two: Agreement


def scored(sample: Sample, fit: Fitted) -> Scored:
    """``sample`` under ``fit`` and under both baselines."""
    measured = sample.latency_s
    seconds = out_of_fold_s(fit.family, fit.folds, sample.points, sample.machine)
    ideal = np.maximum(sample.memory_s, sample.other_s)
    inside = regimes(ideal * 1e6)
    spread = np.select(list(inside.values()), list(fit.residual))
    low, high = seconds * np.exp(-BAND * spread), seconds * np.exp(BAND * spread)

    def of(rows: NDArray[np.bool_]) -> Agreement | None:
        return agreement(seconds[rows], measured[rows], low[rows], high[rows])

    return Scored(
        sample,
        _known(agreement(seconds, measured, low, high)),
        tuple(of(rows) for rows in inside.values()),
        _known(agreement(one_efficiency(sample), measured, measured, measured)),
        _known(agreement(launch_and_two(sample), measured, measured, measured)),
    )


def _known(found: Agreement | None) -> Agreement:
    if found is None:
        raise SystemExit("a sample has no point")
    return found


def all_scored(table: Table) -> list[Scored]:
    """Every sample of ``table`` that a calibration of its own device and framework keeps folds for."""
    fits = {(fit.device, fit.framework, fit.family.name): fit for fit in shipped() if fit.folds}
    found = []
    for sample in point_table(table).samples:
        fit = fits.get((sample.device, sample.framework, sample.family.name))
        if fit is not None:
            found.append(scored(sample, fit))
    return sorted(found, key=lambda one: (one.sample.family.kernel, one.sample.device, one.sample.framework))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def percent(value: float) -> str:
    """A fraction as per cent."""
    return f"{value * 100:.1f}" if value < 0.1 else f"{value * 100:.0f}"


def pair(found: Agreement | AgreementRow | None) -> str:
    """Median and 90th percentile."""
    return "-" if found is None else f"{percent(found.median)} / {percent(found.p90)}"


def spread(found: Agreement | AgreementRow) -> str:
    """Median and 90th percentile with their bootstrap intervals."""
    (a, b), (c, d) = found.median_interval, found.p90_interval
    return f"{percent(found.median)} ({percent(a)}-{percent(b)}) / {percent(found.p90)} ({percent(c)}-{percent(d)})"


def kernel_rows(found: list[Scored]) -> Iterable[Sequence[str]]:
    """One row per kernel model."""
    for one in found:
        s, m = one.sample, one.model
        yield (
            s.family.name, s.device, s.framework, f"{m.n:,}", spread(m), f"{m.bias * 100:+.1f}",
            f"{m.inside_band * 100:.0f}", *(pair(regime) for regime in one.by_regime), pair(one.two), pair(one.one),
        )  # fmt: skip


def goal_rows(found: list[Scored]) -> Iterable[Sequence[str]]:
    """What was aimed at beside what is reached."""
    goals = parse_mapping(read_text(ROOT / "docs" / "accuracy_goals.yaml"), "docs/accuracy_goals.yaml")["goals"]
    for goal in goals:
        median, p90 = goal["median"] / 100, goal["p90"] / 100
        for one in found:
            s = one.sample
            if (s.device, s.framework, s.family.name) == (goal["device"], goal["framework"], goal["family"]):
                m = one.model
                kept = "yes" if m.median <= median and m.p90 <= p90 else "median" if m.median <= median else "no"
                yield s.family.name, s.device, s.framework, f"{goal['median']} / {goal['p90']}", pair(m), kept


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


def serving_rows(path: Path) -> Iterable[Sequence[str]]:
    """TPOT and TTFT by model, engine and metric."""
    for group in agree_table(read_table(path), ("metric", "model", "engine")).groups:
        metric, model, engine = group.group.values()
        yield (
            metric, model.rpartition("/")[2], engine.replace(" nan", ""), f"{group.n}", pair(group),
            f"{group.bias * 100:+.0f}", f"{group.inside_band * 100:.0f}",
        )  # fmt: skip


def page(data: Path) -> str:
    """The whole page."""
    points = read_points(data / "kernels")
    found = all_scored(points)
    text = (ROOT / "docs" / "accuracy_text.md").read_text(encoding="utf-8")
    head = ("kernel model", "device", "framework", "n", "all", "bias", "in band", "< 10 us", "10-100 us", "> 100 us",
            "launch + 2", "1 efficiency")  # fmt: skip
    parts = {
        "KERNELS": table(head, kernel_rows(found)),
        "GOALS": table(("kernel model", "device", "framework", "aimed at", "reached", "kept"), goal_rows(found)),
        "COVERAGE": table(("table", "rows", "predicted %", "own fit", "borrowed", "class defaults"),
                          coverage_rows(data / "kernels")),
        "BORROWED": table(("gpu", "framework", "kernel", "numbers of", "n", "median / p90 %", "bias %", "in band %"),
                          borrowed_rows(points)),
        "SERVING": table(("metric", "model", "engine", "n", "median / p90 %", "bias %", "in band %"),
                         serving_rows(data / "endtoend.csv")),
    }  # fmt: skip
    for name, made in parts.items():
        text = text.replace(f"<!-- {name} -->", made)
    return text


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python docs/make_accuracy.py DATA")
    (ROOT / "docs" / "accuracy.md").write_text(page(Path(sys.argv[1])), encoding="utf-8")
