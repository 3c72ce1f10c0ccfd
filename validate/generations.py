"""A device whose generation was never measured: what borrowing makes of the fits of the others.

With the plan of its own kernel known (:func:`borrowed`), and without, by the plan that the same library follows on the
lender (:func:`plans_borrowed`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kvwall.simulator.predicting.agreement import Agreement, agreement, groups
from kvwall.simulator.predicting.choosing import Chooser, Pricing
from kvwall.simulator.predicting.fits import shipped
from kvwall.simulator.predicting.lending import KNOWN_PLANS
from kvwall.simulator.predicting.machines import architecture, placed
from kvwall.simulator.predicting.names import KERNELS, Named, device_of
from kvwall.simulator.predicting.prediction import (
    Prediction,
    kernel_groups,
    kernel_reaches,
    predict_kernels,
    work_for,
)
from kvwall.simulator.predicting.shapes import points_of
from kvwall.simulator.predicting.table import Table, numbers
from kvwall.simulator.traffic import Array

_KERNELS = ("decode_attention", "prefill_attention")

#: Where the launch stops to decide, in microseconds of ideal time.
_LONG_US = 100.0

#: Fewer points than this are no test.
_FEWEST = 10


@dataclass(frozen=True)
class Borrowed:
    """Points of one kernel in one regime, with every fit of the device's architecture hidden.

    :ivar kernel: kernel and formats
    :ivar lender: the device of the fit that was lent, or class defaults
    """

    device: str
    framework: str
    kernel: str
    regime: str
    lender: str
    found: Agreement


def borrowed(table: Table) -> list[Borrowed]:
    """Every device with an attention fit of a known plan, predicted from the fits of other architectures."""
    known = {fit.device for fit in shipped() if fit.family.kernel in _KERNELS and fit.family.name not in KNOWN_PLANS}
    attention = _attention(table)
    return [row for device in sorted(known) for row in _of_device(attention, device)]


def _of_device(table: Table, device: str) -> Iterator[Borrowed]:
    gpus = {gpu for gpu in set(table.text("gpu")) if device_of(gpu).name == device}
    rows = [row for row, gpu in enumerate(table.text("gpu")) if gpu in gpus]
    if not rows:
        return
    own = _part(table, rows)
    others = tuple(fit for fit in shipped() if architecture(fit.device) != architecture(device))
    made, measured = predict_kernels(own, Chooser(others)), numbers(own.text("latency_us")).values
    keys = ("framework", "kernel", "dtype", "kv_dtype")
    for (framework, kernel, dtype, cache), group in groups([own.text(key) for key in keys]):
        good = group[np.isfinite(made.predicted_us[group]) & (measured[group] > 0)]
        for regime, long in (("below 100 us", False), ("above 100 us", True)):
            inside = good[(made.ideal_us[good] >= _LONG_US) == long]
            found = agreement(made.predicted_us[inside], measured[inside], made.low_us[inside], made.high_us[inside])
            if found is not None and found.n >= _FEWEST:
                name = f"{kernel}, {dtype}, cache {cache or dtype}".replace("bfloat16", "bf16")
                yield Borrowed(device, framework, name, regime, _lender(made, int(inside[0])), found)


def plans_borrowed(table: Table) -> list[Borrowed]:
    """Attention and collectives as if no plan were known on the device: each by the plan of another generation."""
    rows = [row for row, flag in enumerate(table.text("flag")) if not flag.strip()]
    whole = _part(table, rows)
    shapes, found = kernel_groups(whole)
    measured_us = numbers(whole.text("latency_us")).values
    priced: dict[tuple[str, str, str, str, str], list[tuple[Pricing, Array]]] = {}
    for kernel, group in found:
        if isinstance(kernel, Named) or KERNELS[kernel.kernel] not in ("attention", "collective"):
            continue
        chooser = Chooser(tuple(fit for fit in shipped() if architecture(fit.device) != architecture(kernel.device)))
        usable = group[shapes.usable(kernel.kernel, group) & (measured_us[group] > 0)]
        for reach, kept in kernel_reaches(kernel, shapes, usable):
            if reach == "network":
                continue
            points = points_of(kernel.kernel, shapes, kept)
            for one in chooser.other_plans(
                kernel, points, work_for(kernel, points), placed(kernel.device, reach), reach
            ):
                cache = kernel.kv_dtype if kernel.kernel in _KERNELS else ""
                key = (kernel.device, kernel.framework, kernel.kernel, cache, one.calibration)
                priced.setdefault(key, []).append((one, measured_us[kept[one.rows]] * 1e-6))
    return [row for key, parts in sorted(priced.items()) for row in _rows_of_plan(key, parts)]


def _rows_of_plan(key: tuple[str, str, str, str, str], parts: list[tuple[Pricing, Array]]) -> Iterator[Borrowed]:
    """The agreement of the parts of one kernel below and above 100 us."""
    device, framework, kernel, cache, calibration = key
    columns = [
        np.concatenate([getattr(one, name) for one, _ in parts]) for name in ("mid_s", "low_s", "high_s", "ideal_s")
    ]
    middle, low, high, ideal = columns
    measured = np.concatenate([seconds for _, seconds in parts])
    for regime, long in (("below 100 us", False), ("above 100 us", True)):
        inside = (ideal * 1e6 >= _LONG_US) == long
        found = agreement(middle[inside], measured[inside], low[inside], high[inside])
        if found is not None and found.n >= _FEWEST:
            name = f"{kernel}, cache {cache}" if kernel in _KERNELS else kernel
            yield Borrowed(device, framework, name, regime, calibration.partition(".")[0], found)


def _lender(made: Prediction, row: int) -> str:
    name = made.calibration[row]
    return "class defaults" if name == "uncalibrated" else name.partition(".")[0]


def _attention(table: Table) -> Table:
    """The attention rows of ``table`` without a flag."""
    pairs = zip(table.text("kernel"), table.text("flag"), strict=True)
    return _part(table, [row for row, (kernel, flag) in enumerate(pairs) if kernel in _KERNELS and not flag.strip()])


def _part(table: Table, rows: list[int]) -> Table:
    return Table(table.where, table.columns, {c: [table.cells[c][row] for row in rows] for c in table.columns}, {})
