"""A kernel whose plan on its device nobody measured: the plan that its library follows on another generation.

Attention and collectives change less between generations than their time at the data sheet's rates does: launches, the
walk of a thread block and messages that follow one another stay. Products do not: what feeds a matrix unit is new with
each, and the class defaults predict them better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from kvwall.hardware.device import DEVICES, Device
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.kernel_time.points import Points, Rows
from kvwall.simulator.predicting.families import family_rows
from kvwall.simulator.predicting.lending import Loan, carried
from kvwall.simulator.predicting.machines import Reach, architecture
from kvwall.simulator.predicting.names import KERNELS, framework_of
from kvwall.simulator.predicting.releases import standing_for

if TYPE_CHECKING:
    from kvwall.simulator.predicting.choosing import Fitted
    from kvwall.simulator.predicting.prediction import Kernel

#: What such a loan adds to the spread, by regime: errors of Hopper and Ampere under each other's plans.
_SPREAD = {
    "decode": (0.25, 0.25, 0.18),
    "prefill": (0.45, 0.45, 0.13),
    "collective": (0.25, 0.25, 0.2),
}

#: Times in which one compute unit walks a block of the cache.
_WALKS = ("step_us", "loop_us")

#: Below this capability libraries follow other plans, or do not run at all.
_OLDEST = 8.0

#: Loans are tried in the order of their distance; this one comes after all others.
_LAST = 6

Lent = tuple[Rows, "Fitted", Loan]


def plans_elsewhere(kernel: Kernel, points: Points, reach: Reach, fits: Iterable[Fitted]) -> tuple[Lent, ...]:
    """Rows of ``points`` with the fit that each borrows; empty where no device lends to all of them.

    The lender is the nearest generation of the same vendor with like memory on which the same library was measured.
    Its numbers are carried over as between generations with a known plan, see :func:`lending.carried`.
    """
    usable = [fit for fit in fits if _same_library(fit, kernel)]
    for device in lenders(kernel.device, (fit.device for fit in usable)):
        lent = tuple(_of_device(device, kernel, points, reach, usable))
        if lent and sum(_size(rows, points) for rows, *_ in lent) == math.prod(points.shape):
            return lent
    return ()


def _size(rows: Rows, points: Points) -> int:
    return math.prod(points.shape) if rows is ... else rows.size


def lenders(borrower_id: str, measured: Iterable[str]) -> list[str]:
    """The devices of other architectures among ``measured`` that may lend to ``borrower_id``, nearest first."""
    borrower = DEVICES.load(borrower_id)
    if not _follows_plans(borrower):
        return []
    found = {device: DEVICES.load(device) for device in measured if architecture(device) != architecture(borrower_id)}
    able = (device for device, sheet in found.items() if _may_lend(sheet, borrower))
    return sorted(able, key=lambda device: (*_apart(found[device], borrower), device))


def _follows_plans(device: Device) -> bool:
    return (device.compute_capability or 0.0) >= _OLDEST


def _may_lend(lender: Device, borrower: Device) -> bool:
    """Same vendor, both young enough, and both with stacked memory or both with graphics memory: other chips."""
    graphics = [sheet.hbm.type.upper().startswith("GDDR") for sheet in (lender, borrower)]
    return lender.vendor == borrower.vendor and _follows_plans(lender) and graphics[0] == graphics[1]


def _apart(lender: Device, borrower: Device) -> tuple[float, bool]:
    generations = abs((lender.compute_capability or 0.0) - (borrower.compute_capability or 0.0))
    return generations, lender.form != borrower.form


def _same_library(fit: Fitted, kernel: Kernel) -> bool:
    """Whether ``fit`` is of the library that runs ``kernel``; NCCL is NCCL, whoever calls it."""
    kind = _kind(kernel)
    if kind is None or KERNELS.get(fit.family.kernel) != KERNELS[kernel.kernel]:
        return False
    nccl = fit.family.name.partition("/")[2].startswith("nccl")
    return nccl or framework_of(fit.framework) == framework_of(kernel.framework)


def _kind(kernel: Kernel) -> str | None:
    if KERNELS[kernel.kernel] == "collective":
        return "collective"
    if KERNELS[kernel.kernel] != "attention":
        return None
    return "prefill" if "prefill" in kernel.kernel else "decode"


def _of_device(device: str, kernel: Kernel, points: Points, reach: Reach, fits: list[Fitted]) -> Iterator[Lent]:
    """What one device lends: its library's plan of each point."""
    for name, rows in family_rows(replace(kernel, device=device), points, reach).items():
        same = [fit for fit in fits if fit.device == device and fit.family.name == name]
        if same:
            fit = same[standing_for("", [one.version for one in same])]
            told = (
                f"borrowed from {device} ({fit.framework}, {name}), the plan of another generation, scaled by the clock"
            )
            moved = replace(fit, parameters=_drained(carried(fit, fit.family, kernel.device), fit, kernel), folds=())
            yield rows, moved, Loan(_LAST, _SPREAD[_kind(kernel) or "decode"], told)


def _drained(values: dict[str, float], fit: Fitted, kernel: Kernel) -> dict[str, float]:
    """``values`` with the walk of a decode sped up where each unit of the borrower has more of the memory to drain.

    A generation whose memory is faster for each compute unit has units that keep up with it, by their clock or not.
    """
    if _kind(kernel) != "decode":
        return values
    machines = [machine_of(DEVICES.load(device)) for device in (fit.device, kernel.device)]
    lender, borrower = (machine.bandwidth_bytes_per_s / machine.units for machine in machines)
    drained = {name: min(values[name], fit.parameters[name] * lender / borrower) for name in _WALKS if name in values}
    return {**values, **drained}
