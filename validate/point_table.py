"""Measured kernel tables made ready for a fit: grouped by device, library and kernel model, with what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kvwall.hardware.errors import InputError
from kvwall.hardware.library import is_path
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.families import families, family_names
from kvwall.simulator.predicting.machines import placed
from kvwall.simulator.predicting.names import KERNELS, Named, framework_of
from kvwall.simulator.predicting.prediction import Kernel, kernel_groups, kernel_points, kernel_reaches, work_for
from kvwall.simulator.predicting.shapes import Shapes
from kvwall.simulator.predicting.table import Numbers, Table, numbers, one_table, read_table, require_columns
from kvwall.simulator.predicting.work import Work
from kvwall.simulator.traffic import Array

#: A measured time may undercut the data sheet by this much before it counts as impossible: clocks and counters differ.
_SLACK = 1.02

#: A working set up to so many last-level caches may have been read faster than memory, in part.
_CACHES = 4.0

Index = NDArray[np.int64]

#: Repeats of one shape that differ by more than this are told.
_REPEAT_SPREAD = 0.25


@dataclass(frozen=True)
class Sample:
    """Measured points of one kernel model on one device.

    :ivar sources: where the points are from, and ``versions`` of the library, distinct, as the table has them
    :ivar latency_s: one per point
    :ivar memory_s: what each point's compulsory bytes take at the memory's peak, and ``other_s`` its FLOP or messages
    :ivar rows: where each point stands in the table
    :ivar repeated: points whose shape was measured before; ``uneven`` those of them that differ by over 25 %
    """

    device: str
    framework: str
    family: Family
    machine: Machine
    points: Points
    latency_s: Array
    sources: tuple[str, ...]
    versions: tuple[str, ...]
    repeated: int
    uneven: int
    memory_s: Array
    other_s: Array
    rows: Index = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


@dataclass(frozen=True)
class PointTable:
    """What a table gives to fit, and what it does not.

    :ivar left_out: rows by the reason they were left out
    """

    where: str
    rows: int
    samples: tuple[Sample, ...]
    left_out: dict[str, int]


def read_points(path: Path) -> Table:
    """The table in a CSV file, or all kernel tables of a folder as one.

    :raises InputError: no such file, no kernel table, or a folder without one
    """
    if not path.is_dir():
        table = read_table(path)
        require_columns(table, ("kernel", "gpu", "latency_us"))
        return table
    files = sorted(file for file in path.iterdir() if file.name.endswith((".csv", ".csv.gz")))
    tables = [table for file in files if {"kernel", "gpu", "latency_us"} <= set((table := read_table(file)).columns)]
    if not tables:
        raise InputError(f"{path}: holds no CSV file with the columns kernel, gpu and latency_us")
    return one_table(tables, str(path))


def point_table(table: Table) -> PointTable:
    """The samples of ``table``; a row that cannot be used is counted under its reason and never stops the rest."""
    latency = numbers(table.text("latency_us"))
    left_out: Counter[str] = Counter()
    usable = _usable(table, latency, left_out)
    shapes, found = kernel_groups(table)
    collected: dict[tuple[str, str, str], list[_Part]] = {}
    for kernel, rows in found:
        if isinstance(kernel, Named):
            left_out[kernel.why] += int(usable[rows].sum())
            continue
        for name, part in _parts(kernel, shapes, rows[usable[rows]], latency.values * 1e-6, left_out):
            collected.setdefault((kernel.device, framework_of(kernel.framework), name), []).append(part)
    samples = tuple(_sample(*key, parts, table) for key, parts in collected.items())
    return PointTable(table.where, table.rows, samples, {why: n for why, n in left_out.most_common() if n})


@dataclass(frozen=True)
class _Part:
    """Points of one kernel of one group of rows."""

    rows: Index
    points: Points
    latency_s: Array
    machine: Machine
    work: Work


def _usable(table: Table, latency: Numbers, left_out: Counter[str]) -> NDArray[np.bool_]:
    """Rows with a latency and without a flag."""
    flags = [flag.strip() for flag in table.text("flag")]
    flagged = np.array([bool(flag) for flag in flags])
    for flag, count in Counter(flag for flag in flags if flag).items():
        left_out[f"flag {flag}"] += count
    values = latency.values
    for text, count in Counter(latency.bad.values()).most_common(5):
        left_out[f"latency_us {text!r} is not a number"] += count
    bad = np.zeros(table.rows, dtype=np.bool_)
    bad[list(latency.bad)] = True
    left_out["latency_us is missing"] += int((np.isnan(values) & ~bad & ~flagged).sum())
    left_out["latency_us is zero or negative"] += int(((values <= 0) & ~flagged).sum())
    damaged = np.zeros(table.rows, dtype=np.bool_)
    damaged[list(table.damaged)] = True
    left_out["the row has too few or too many cells"] += int((damaged & (values > 0) & ~flagged).sum())
    return np.asarray((values > 0) & ~flagged & ~damaged)


def _parts(
    kernel: Kernel, shapes: Shapes, rows: Index, latency_s: Array, left_out: Counter[str]
) -> Iterator[tuple[str, _Part]]:
    """The usable points of each kernel model of a group."""
    good = shapes.usable(kernel.kernel, rows)
    for row in rows[~good]:
        left_out[shapes.problem(kernel.kernel, int(row))] += 1
    for reach, kept in kernel_reaches(kernel, shapes, rows[good]):
        if reach == "network":
            left_out["ranks of several nodes: a calibration is of one node"] += kept.size
            continue
        machine = placed(kernel.device, reach).machine
        points = kernel_points(kernel, shapes, kept)
        work = work_for(kernel, points)
        possible = _possible(kernel, points, work, machine, latency_s[kept])
        sheet = kernel.gpu if is_path(kernel.gpu) else kernel.device
        impossible = f"faster than the data sheet of {sheet} allows, and not from its cache"
        left_out[impossible] += int((~possible).sum())
        names = np.broadcast_to(family_names(kernel, points, reach), kept.shape)
        left_out[f"no kernel model for {kernel.kernel} of {kernel.framework}"] += int(((names == "") & possible).sum())
        for name in sorted({*names[possible].tolist()} - {""}):
            inside = np.flatnonzero(possible & (names == name))
            yield name, _Part(kept[inside], points.take(inside), latency_s[kept[inside]], machine, work.take(inside))


def _possible(kernel: Kernel, points: Points, work: Work, machine: Machine, latency_s: Array) -> NDArray[np.bool_]:
    """Points that the data sheet allows, or that may have been read from the last-level cache."""
    slow_enough = latency_s * _SLACK >= work.ideal_s(machine)
    if KERNELS[kernel.kernel] == "collective":
        return np.asarray(slow_enough)
    beyond_matrix = latency_s * _SLACK < work.flops / machine.matrix_flops_per_s[work.operand]
    cached = (np.asarray(points.warm) > 0) & (work.memory_bytes <= _CACHES * machine.l2_bytes)
    return np.asarray(slow_enough | (cached & ~beyond_matrix))


def _sample(device: str, framework: str, family: str, parts: list[_Part], table: Table) -> Sample:
    columns = {
        field.name: np.concatenate(
            [np.broadcast_to(np.asarray(getattr(part.points, field.name)), part.rows.shape) for part in parts]
        )
        for field in fields(Points)
    }
    points = Points(**columns)
    latency = np.concatenate([part.latency_s for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    repeated, uneven = _repeats(columns, latency)
    return Sample(
        device=device,
        framework=framework,
        family=families()[family],
        machine=parts[0].machine,
        points=points,
        latency_s=latency,
        rows=rows,
        sources=_distinct(table.text("source"), rows),
        versions=_distinct(table.text("source_version"), rows),
        repeated=repeated,
        uneven=uneven,
        memory_s=np.concatenate([part.work.memory_bytes / part.machine.bandwidth_bytes_per_s for part in parts]),
        other_s=np.concatenate(
            [
                np.maximum(part.work.matrix_s(part.machine), part.work.link_bytes / part.machine.link_bytes_per_s)
                for part in parts
            ]
        ),
    )


def _repeats(columns: dict[str, Array], latency_s: Array) -> tuple[int, int]:
    """Points whose shape came before, and those that differ from the median of their shape by over 25 %."""
    _, shape = np.unique(np.stack(list(columns.values()), axis=1), axis=0, return_inverse=True)
    shape = shape.ravel()
    order = np.lexsort((latency_s, shape))
    counts = np.bincount(shape)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    middle = latency_s[order][starts + counts // 2]
    away = np.abs(latency_s / middle[shape] - 1) > _REPEAT_SPREAD
    return int((counts - 1).sum()), int((away & (counts[shape] > 1)).sum())


def _distinct(cells: list[str], rows: Index) -> tuple[str, ...]:
    return tuple(sorted({cells[row] for row in rows if cells[row]}))
