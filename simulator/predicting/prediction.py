"""Predicting a table of kernels: grouped by what chooses a kernel, each group priced at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.agreement import groups
from kvwall.simulator.predicting.choosing import Chooser, Pricing
from kvwall.simulator.predicting.machines import Placed, Reach, placed, reach_of
from kvwall.simulator.predicting.names import (
    BYTES,
    KERNELS,
    PACKED_BYTES,
    Named,
    cache_format_of,
    device_of,
    dtype_of,
    kernel_of,
    operand,
    states_work,
)
from kvwall.simulator.predicting.shapes import Shapes, points_of, shapes_of
from kvwall.simulator.predicting.table import Table
from kvwall.simulator.predicting.work import Work, work_of
from kvwall.simulator.traffic import Array

Progress = Callable[[int, int], None]

#: Below this ideal time a kernel whose resources are idle most of the time is bound by latency.
_LATENCY_REGIME_S = 10e-6

#: Rows priced at once: models that try a menu of tiles or splits hold a hundred candidates a row.
_BLOCK_ROWS = 20_000

_KEYS = ("gpu", "framework", "kernel", "kernel_source", "dtype", "kv_dtype", "source_version")


@dataclass(frozen=True)
class Kernel:
    """What the rows of one group are.

    :ivar gpu: as the table spells it
    :ivar device: name in the library, or the path of its data sheet
    :ivar kernel: canonical; ``spelled`` as the table has it
    :ivar framework: as the table spells it, and ``source`` the backend inside it
    :ivar dtype: canonical format of activations and weights; ``kv_dtype`` of the cache
    :ivar version: release of the framework as the table states it; empty for the newest
    """

    gpu: str
    device: str
    kernel: str
    spelled: str
    framework: str
    source: str
    dtype: str
    kv_dtype: str
    version: str = ""


@dataclass(frozen=True)
class Prediction:
    """Predictions of a kernel table, one per row; NaN and empty text where there is none.

    :ivar ideal_us: data-sheet bound with a cold cache
    :ivar bound_by: ``hbm``, ``matrix``, ``link`` or ``latency``
    :ivar calibration: whose numbers were used
    :ivar note: what was borrowed or assumed, or why there is no prediction
    """

    predicted_us: Array
    low_us: Array
    high_us: Array
    ideal_us: Array
    bound_by: tuple[str, ...]
    calibration: tuple[str, ...]
    note: tuple[str, ...]


class _Columns:
    """Predictions under construction."""

    def __init__(self, rows: int) -> None:
        self.predicted, self.low, self.high, self.ideal = (np.full(rows, np.nan) for _ in range(4))
        self.bound_by = np.full(rows, "", dtype=object)
        self.calibration = np.full(rows, "", dtype=object)
        self.note = np.full(rows, "", dtype=object)

    def done(self) -> Prediction:
        return Prediction(
            predicted_us=self.predicted * 1e6,
            low_us=self.low * 1e6,
            high_us=self.high * 1e6,
            ideal_us=self.ideal * 1e6,
            bound_by=tuple(self.bound_by.tolist()),
            calibration=tuple(self.calibration.tolist()),
            note=tuple(self.note.tolist()),
        )


def predict_kernels(table: Table, chooser: Chooser, progress: Progress | None = None) -> Prediction:
    """The time of each row's kernel.

    :param chooser: which calibration prices which kernel
    :param progress: called with the rows done and their number
    """
    made = _Columns(table.rows)
    shapes, found = kernel_groups(table)
    done = 0
    for kernel, rows in found:
        if isinstance(kernel, Named):
            made.note[rows] = kernel.why
        else:
            _predict_group(kernel, shapes, rows, chooser, made)
        done += rows.size
        if progress is not None:
            progress(done, table.rows)
    for row, why in table.damaged.items():
        made.note[row] = f"{why}; {made.note[row]}" if made.note[row] else why
    return made.done()


def kernel_groups(table: Table) -> tuple[Shapes, list[tuple[Kernel | Named, NDArray[np.int64]]]]:
    """The shapes of all rows, and the rows of each kernel; a kernel that a name hides comes as the reason."""
    shapes = shapes_of(table, [dtype_of(text).name for text in table.text("dtype")])
    found = groups([table.text(key) for key in _KEYS])
    return shapes, [(_kernel(table.folder, *values), rows) for values, rows in found]


def work_for(kernel: Kernel, points: Points) -> Work:
    """The compulsory work of ``points`` of one kernel."""
    element, cached = BYTES[kernel.dtype], (BYTES | PACKED_BYTES)[kernel.kv_dtype]
    return work_of(kernel.kernel, points, element, cached, operand(kernel.dtype), kernel.spelled)


def kernel_points(kernel: Kernel, shapes: Shapes, rows: NDArray[np.int64]) -> Points:
    """The shapes of ``rows``, with what they state of their own work where the shape of ``kernel`` does not tell it."""
    return points_of(kernel.kernel, shapes, rows, stated=states_work(kernel.kernel, kernel.kv_dtype))


def _kernel(
    folder: Path, gpu: str, framework: str, spelled: str, source: str, dtype: str, kv_dtype: str, version: str
) -> Kernel | Named:
    """What a group's names mean, or the first that means nothing."""
    kernel, device = kernel_of(spelled), device_of(gpu, folder)
    format_, cache = dtype_of(dtype or "bf16"), cache_format_of(kv_dtype or dtype or "bf16")
    for named in (kernel, device, format_, cache):
        if not named.name:
            return named
    return Kernel(gpu, device.name, kernel.name, spelled, framework, source, format_.name, cache.name, version)


def _predict_group(kernel: Kernel, shapes: Shapes, rows: NDArray[np.int64], chooser: Chooser, made: _Columns) -> None:
    good = shapes.usable(kernel.kernel, rows)
    for row in rows[~good]:
        made.note[row] = shapes.problem(kernel.kernel, int(row))
    for reach, kept in kernel_reaches(kernel, shapes, rows[good]):
        place = placed(kernel.device, reach)
        for start in range(0, kept.size, _BLOCK_ROWS):
            block = kept[start : start + _BLOCK_ROWS]
            points = kernel_points(kernel, shapes, block)
            work = work_for(kernel, points)
            for pricing in chooser.prices(kernel, points, work, place, reach):
                _keep(made, block[pricing.rows], pricing, work, place)


def kernel_reaches(kernel: Kernel, shapes: Shapes, rows: NDArray[np.int64]) -> list[tuple[Reach, NDArray[np.int64]]]:
    """The rows by the link that their ranks span; kernels of one device have none."""
    if rows.size == 0:
        return []
    if KERNELS[kernel.kernel] not in ("collective", "copy"):
        return [("device", rows)]
    ranks, per_node = shapes["num_gpus"][rows], shapes["devices_per_node"][rows]
    reaches = np.array(reach_of(kernel.gpu, kernel.device, kernel.kernel, ranks, per_node))
    kinds: tuple[Reach, ...] = ("pair", "host", "network")
    return [(kind, rows[reaches == kind]) for kind in kinds if np.any(reaches == kind)]


def _keep(made: _Columns, rows: NDArray[np.int64], pricing: Pricing, work: Work, place: Placed) -> None:
    inside = pricing.rows
    ideal = pricing.ideal_s
    made.predicted[rows], made.low[rows], made.high[rows] = pricing.mid_s, pricing.low_s, pricing.high_s
    made.ideal[rows] = ideal
    names = np.array([name for name, _ in work.resources(place.machine)], dtype=object)
    seconds = np.stack([alone[inside] for _, alone in work.resources(place.machine)])
    idle = (ideal < _LATENCY_REGIME_S) & (2 * ideal < pricing.mid_s)
    made.bound_by[rows] = np.where(idle, "latency", names[np.argmax(seconds, axis=0)])
    made.calibration[rows] = pricing.calibration
    made.note[rows] = "; ".join(part for part in (pricing.note, place.note) if part)
