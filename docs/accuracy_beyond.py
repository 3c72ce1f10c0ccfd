"""The part of docs/accuracy.md on goals and on what lies beyond the shapes of a fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from accuracy_cells import aimed, errors, kept, pair, spread, table

from kvwall.hardware.document import parse_mapping, read_text
from kvwall.simulator.predicting.table import Table
from kvwall.validate.extrapolation import LIMITS, NEW_POINTS, SEEDS, beyond_rows, new_kernel_rows
from kvwall.validate.generations import Borrowed, borrowed, plans_borrowed
from kvwall.validate.point_table import Sample

if TYPE_CHECKING:
    from make_accuracy import Scored

_REGIMES = ("below 10 us", "10 to 100 us", "above 100 us")


def goals(path: Path) -> Mapping[str, Any]:
    """What was known to be reached and what is aimed at."""
    return parse_mapping(read_text(path), path.name)


def goal_rows(found: list[Scored], aims: Mapping[str, Any]) -> Iterable[Sequence[str]]:
    """What is reached beside what was aimed at."""
    for goal in aims["goals"]:
        for one in found:
            s, regime = one.sample, goal.get("regime", "")
            names = {"device": s.device, "framework": s.framework, "family": s.family.name}
            if not all(fnmatch(name, goal[key]) for key, name in names.items()):
                continue
            m = one.by_regime[_REGIMES.index(regime)] if regime else one.model
            reached = "-" if m is None else kept((m.median, m.p90), goal["aim"])
            model = f"{s.family.name}, {regime}" if regime else s.family.name
            yield model, s.device, s.framework, goal["start"], aimed(goal["aim"]), pair(m), reached
    yield _ratio_row(found, aims["ratio"])


def _ratio_row(found: list[Scored], goal: Mapping[str, Any]) -> Sequence[str]:
    """How often the ratio of two formats is predicted."""
    chosen = {one.sample.family.name: one for one in found
              if (one.sample.device, one.sample.framework) == (goal["device"], goal["framework"])}  # fmt: skip
    first, second = (_by_shape(chosen[name]) for name in goal["families"])
    shared = sorted(first.keys() & second.keys())
    ratios = np.array([np.divide(second[shape], first[shape]) for shape in shared])
    share = float(np.mean(np.abs(ratios[:, 0] / ratios[:, 1] - 1) <= goal["within"] / 100)) * 100
    names = " to ".join(name.partition("/")[2] for name in reversed(goal["families"]))
    told = f"ratio {names} within {goal['within']} %, {len(shared):,} shapes"
    aim, reached = f"{goal['share']} % of shapes", f"{share:.0f} % of shapes"
    return told, goal["device"], goal["framework"], "-", aim, reached, "yes" if share >= goal["share"] else "no"


def _by_shape(one: Scored) -> dict[tuple[float, ...], tuple[float, float]]:
    """Predicted and measured seconds of each shape; repeats by their median."""
    points, size = one.sample.points, one.sample.latency_s.size
    columns = [np.broadcast_to(np.asarray(getattr(points, f.name), dtype=float), size) for f in fields(points)]
    shapes = list(zip(*(column.tolist() for column in columns), strict=True))
    rows: dict[tuple[float, ...], list[int]] = {}
    for row, shape in enumerate(shapes):
        rows.setdefault(shape, []).append(row)
    both = (one.seconds, one.sample.latency_s)
    return {shape: (float(np.median(both[0][at])), float(np.median(both[1][at]))) for shape, at in rows.items()}


def beyond_parts(points: Table, samples: tuple[Sample, ...], aims: Mapping[str, Any]) -> dict[str, str]:
    """The tables of the tests beyond the shapes of a fit."""
    goal = aims["beyond"]
    lent = (
        "device",
        "framework",
        "kernel",
        "ideal time",
        "numbers of",
        "n",
        "median / p90 %",
        "bias %",
        "in band %",
        "kept",
    )
    head = (
        "kernel model",
        "device",
        "framework",
        "fitted",
        "n",
        "median / p90 %",
        "bias %",
        "in band %",
        "in band % if it did not grow",
        "kept",
        "boosted trees",
    )
    parts = {
        f"BEYOND_{column.upper()}": table(head, _beyond_rows(samples, column, goal[column]["aim"])) for column in LIMITS
    }
    aim = goal["generation"]["aim"]
    parts["GENERATION"] = table(lent, _generation_rows(borrowed(points), aim))
    parts["PLANS"] = table(lent, _generation_rows(plans_borrowed(points), aim))
    parts["NEW"] = table(
        ("kernel model", "device", "framework", "n", f"{NEW_POINTS} points, median / p90 %",
         f"medians of {SEEDS} draws", "in band %", "plans taken", "without a plan", "its own plan", "kept",
         "kept with its own plan"),
        _new_rows(samples, goal["new"]["aim"]))  # fmt: skip
    for name in goal:
        parts[f"AIM_{name.upper()}"] = aimed(goal[name]["aim"])
        parts[f"START_{name.upper()}"] = goal[name].get("start", "")
    return parts


def _beyond_rows(samples: tuple[Sample, ...], column: str, aim: Sequence[float]) -> Iterable[Sequence[str]]:
    for one in beyond_rows(samples, column, trees=True):
        m = one.found
        yield (
            one.family, one.device, one.framework, f"{one.fitted:,}", f"{m.n:,}", spread(m), f"{m.bias * 100:+.1f}",
            f"{m.inside_band * 100:.0f}", f"{one.inside * 100:.0f}", kept((m.median, m.p90), aim), pair(one.trees),
        )  # fmt: skip


def _generation_rows(found: Iterable[Borrowed], aim: Sequence[float]) -> Iterable[Sequence[str]]:
    for one in found:
        m = one.found
        yield (
            one.device, one.framework, one.kernel, one.regime, one.lender, f"{m.n:,}", spread(m),
            f"{m.bias * 100:+.0f}", f"{m.inside_band * 100:.0f}", kept((m.median, m.p90), aim),
        )  # fmt: skip


def _new_rows(samples: tuple[Sample, ...], aim: Sequence[float]) -> Iterable[Sequence[str]]:
    for one in new_kernel_rows(samples):
        low, high = (f"{value * 100:.1f}" for value in one.range)
        yield (
            one.family, one.device, one.framework, f"{one.n:,}", errors(one.plan), f"{low}-{high}",
            f"{one.inside_band * 100:.0f}", ", ".join(one.plans), errors(one.without), errors(one.own),
            kept(one.plan, aim), kept(one.own, aim),
        )  # fmt: skip
