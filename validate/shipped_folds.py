"""``python -m kvwall.validate.shipped_folds DIR``: the fold parameters of the calibrations that ship with kvwall.

Each fit is made again without each fifth of its shapes, from the tables it was fitted to, and the parameters are kept
beside it: with them ``kvwall agree --out-of-fold`` predicts every point by a fit that has not seen its shape.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from kvwall.hardware.calibration import KERNEL_CALIBRATIONS, KernelCalibration
from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import KvwallError
from kvwall.simulator.cli.output import save
from kvwall.simulator.predicting.folds import FoldParameters
from kvwall.simulator.predicting.names import device_of
from kvwall.simulator.predicting.table import Table
from kvwall.validate.calibration_text import folds_text
from kvwall.validate.known_plans import fold_parameters
from kvwall.validate.point_table import Sample, point_table, read_points

#: Fewer new tokens than this are served by the decode kernels of the libraries.
_SHORTEST_PREFILL_TOKENS = 16


def shipped_folds(calibration: KernelCalibration, samples: tuple[Sample, ...]) -> FoldParameters | None:
    """The fold parameters of ``calibration`` from ``samples``; ``None`` where none of them was fitted to."""
    found = {}
    for sample in samples:
        folds = fold_parameters(_prefills(sample))
        if folds:
            found[sample.family.name] = folds
    return FoldParameters(calibration=calibration.name, families=found) if found else None


def samples_of(calibration: KernelCalibration, table: Table) -> tuple[Sample, ...]:
    """The points that ``calibration`` was fitted to: of its versions, or of any where none of them is stated."""
    mine = of_device(table, calibration.device)
    exact = of_versions(mine, set(calibration.versions.values()))
    found: dict[str, Sample] = {}
    for sample in (*point_table(mine).samples, *point_table(exact).samples):
        if sample.framework == calibration.framework and sample.family.name in calibration.fits:
            found[sample.family.name] = sample
    return tuple(found.values())


def _prefills(sample: Sample) -> Sample:
    """``sample`` without what is no prefill."""
    if sample.family.kernel != "prefill_attention":
        return sample
    rows = np.flatnonzero(np.asarray(sample.points.q_len) >= _SHORTEST_PREFILL_TOKENS)
    return replace(sample, points=sample.points.take(rows), latency_s=sample.latency_s[rows])


def of_versions(table: Table, versions: set[str]) -> Table:
    """The rows of ``table`` whose version is one of ``versions``; all rows where none is."""
    there = table.text("source_version")
    return _rows(table, [row for row, version in enumerate(there) if version in versions]) or table


def of_device(table: Table, device: str) -> Table:
    """The rows of ``table`` on one device."""
    spellings = {gpu for gpu in set(table.text("gpu")) if device_of(gpu).name == DEVICES.resolve(device)}
    return _rows(table, [row for row, gpu in enumerate(table.text("gpu")) if gpu in spellings]) or table


def _rows(table: Table, rows: list[int]) -> Table | None:
    cells = {column: [table.cells[column][row] for row in rows] for column in table.columns}
    damaged = {place: table.damaged[row] for place, row in enumerate(rows) if row in table.damaged}
    return Table(table.where, table.columns, cells, damaged) if rows else None


def main(arguments: list[str]) -> int:
    """Write the folds of every calibration that the tables of the one argument, a folder, tell of."""
    table = read_points(Path(arguments[0]))
    folder = Path(str(files("kvwall.hardware"))) / "calibrations" / "folds"
    folder.mkdir(exist_ok=True)
    for name in KERNEL_CALIBRATIONS.names:
        calibration = KERNEL_CALIBRATIONS.load(name)
        samples = samples_of(calibration, table)
        folds = shipped_folds(calibration, samples)
        if folds is not None:
            save(folder / f"{name}.yaml", folds_text(folds))
        counts = {sample.family.name: sample.latency_s.size for sample in samples}
        for family, fit in calibration.fits.items():
            kept = len(folds.families.get(family, ())) if folds else 0
            sys.stdout.write(f"{name} {family}: {kept} folds of {counts.get(family, 0)} points, fitted to {fit.n}\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KvwallError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
