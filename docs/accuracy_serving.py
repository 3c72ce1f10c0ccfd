"""The part of docs/accuracy.md on serving: TPOT and TTFT of set-ups, and of whole series, that a fit has not seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from accuracy_cells import errors, table
from numpy.typing import NDArray

from kvwall.simulator.predicting.table import Table, read_table
from kvwall.validate.served_points import Series, ServedPoint, series_of, served
from kvwall.validate.serving_fit import fit_engine, unseen

#: InferenceMAX draws lengths of 0.8 to 1 of what it states, and starts vLLM with 0.95 of the memory.
_DRAWN = ";length_ratio=0.9;memory_utilization=0.95"
#: Rows whose requests never ran together, or whose set-up is not the series': engines and users left out.
_OTHER_VERSIONS = ("0.5.8.post1", "1.3.0rc1", "1.2.0rc6.post1", "0.11.2")
_METRICS = ("TPOT", "TTFT")
Errors = NDArray[np.float64]


def cleaned(points: Table) -> Table:
    """Rows of one pool, with what is known of their benchmark; MiniMax rows stand twice, once split as it was not."""
    extra = []
    for told, source in zip(points.text("extra"), points.text("source"), strict=True):
        mine = told + (_DRAWN if "id=2026_" in source else "")
        if "minimax" in source:
            mine = mine.replace("attn_dp=4.0", "attn_dp=1.0").replace("moe_ep=16.0", "moe_ep=4.0")
        extra.append(mine)
    kept = [
        row
        for row, (told, metric) in enumerate(zip(extra, points.text("metric"), strict=True))
        if "mode=agg" in told and metric in ("tpot_ms", "ttft_ms") and "concurrency=;" not in told
    ]
    whole = {**points.cells, "extra": extra}
    return replace(points, cells={name: [cells[row] for row in kept] for name, cells in whole.items()}, damaged={})


def measured_series(path: Path) -> tuple[Series, ...]:
    """The series of the table that a fit is held against."""
    found, _ = series_of(cleaned(read_table(path)))
    kept = (replace(series, points=tuple(filter(_plain, series.points))) for series in found)
    return tuple(series for series in kept if len(series.points) >= 5)


def _plain(point: ServedPoint) -> bool:
    crowded = point.loop.users == 512 and "gpt-oss" in point.asked.model
    return not crowded and not point.asked.engine.endswith(_OTHER_VERSIONS)


def serving_parts(path: Path) -> dict[str, str]:
    """The tables of the section."""
    found = measured_series(path)
    held = [(series, _errors(series, unseen(series))) for series in found]
    head = ("engine", "model", "n", "KV-bound", "TPOT, median / p90 %", "bias %", "TTFT, median / p90 %", "bias %")
    never = [(series, _errors(series, _of_others(series, found))) for series in found]
    wide = (*head, "TPOT in band %", "TTFT in band %")
    return {
        "SERVING": table(head, [*_rows(held), *_pooled(held)]),
        "SERVING_NEVER": table(wide, [*_rows(never, covered=True), *_pooled(never, covered=True)]),
    }


def _of_others(series: Series, found: Sequence[Series]) -> Errors:
    """Predictions by constants fitted to every other pair of engine and model: of the engine, or else of the kind."""
    others = [one for one in found if one is not series and one.experts == series.experts]
    same = [one for one in others if one.engine == series.engine] or others
    points = [point for one in same for point in one.points]
    constants = dict(fit_engine(points, series.experts, same[0].profile).constants)
    return np.array([served(point, constants) for point in series.points])


def _errors(series: Series, predicted: Errors) -> Errors:
    measured = np.array([(point.tpot_s, point.ttft_s) for point in series.points])
    return predicted / measured - 1


def _rows(found: Sequence[tuple[Series, Errors]], covered: bool = False) -> Iterable[Sequence[str]]:
    for series, off in found:
        bound = sum(point.kv_bound for point in series.points)
        cells = [series.engine, series.model, f"{len(series.points)}", f"{bound}", *_cells(off)]
        yield [*cells, *_covered([(series, off)])] if covered else cells


def _pooled(found: Sequence[tuple[Series, Errors]], covered: bool = False) -> Iterable[Sequence[str]]:
    for name, kinds in (("dense", (False,)), ("experts", (True,)), ("all", (False, True))):
        part = [(series, off) for series, off in found if series.experts in kinds]
        off = np.concatenate([one for _, one in part])
        bound = sum(point.kv_bound for series, _ in part for point in series.points)
        cells = [name, "", f"{len(off)}", f"{bound}", *_cells(off)]
        yield [*cells, *_covered(part)] if covered else cells


def _cells(off: Errors) -> Iterable[str]:
    for at, _ in enumerate(_METRICS):
        mine = off[np.isfinite(off[:, at]), at]
        yield errors((float(np.median(np.abs(mine))), float(np.quantile(np.abs(mine), 0.9))))
        yield f"{np.median(mine) * 100:+.1f}"


def _covered(part: Sequence[tuple[Series, Errors]]) -> Iterable[str]:
    """How many measured values lie within the spread of an engine that was never calibrated."""
    for at, name in enumerate(("tpot_spread", "ttft_spread")):
        inside: list[bool] = []
        for series, off in part:
            spread = float(getattr(series.profile.serving.queue(series.experts), name))
            logs = np.abs(np.log1p(off[np.isfinite(off[:, at]), at]))
            inside += (logs <= np.log(spread)).tolist()
        yield f"{np.mean(inside) * 100:.0f}"
