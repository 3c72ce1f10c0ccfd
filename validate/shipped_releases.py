"""``python -m kvwall.validate.shipped_releases DIR``: fits of older releases than those that kvwall ships first.

A kernel changes between releases of its library, and a table says of which it is. Where the tables of a calibration
hold other releases of its framework, each gets a calibration of its own, ``DEVICE.FRAMEWORK.PART.RELEASE``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date
from importlib.resources import files
from pathlib import Path

from kvwall.hardware.calibration import KERNEL_CALIBRATIONS, KernelCalibration, of_one_release
from kvwall.hardware.errors import KvwallError
from kvwall.simulator.cli.output import save
from kvwall.simulator.predicting.names import framework_of
from kvwall.simulator.predicting.table import Table
from kvwall.validate.calibrate import fitted
from kvwall.validate.calibration_text import calibration_text
from kvwall.validate.point_table import Sample, point_table, read_points
from kvwall.validate.shipped_folds import of_device, of_versions, samples_of

#: Whose tables they are, by the mark of their rows.
_SOURCES = {
    "aiconfigurator@095f58a51": "ai-dynamo/aiconfigurator at 095f58a51 (Apache-2.0)",
    "vidur@7d47513": "microsoft/vidur at 7d47513 (MIT)",
}


def older_releases(calibration: KernelCalibration, table: Table) -> dict[str, tuple[Sample, ...]]:
    """The points of ``table`` of other releases than that of ``calibration``, by release, of families that it fits.

    A family that was measured in other releases only has its fit in ``calibration`` already.
    """
    here = of_device(table, calibration.device)
    stated = zip(here.text("framework"), here.text("source_version"), strict=True)
    releases = sorted({version for name, version in stated if framework_of(name) == calibration.framework})
    mine = [version for version in releases if _is_of(calibration, version)]
    newest = {s.family.name for s in samples_of(calibration, table) if set(s.versions) <= set(mine)}
    found = {}
    for release in releases:
        samples = point_table(of_versions(here, {release})).samples
        kept = tuple(s for s in samples if s.framework == calibration.framework and s.family.name in newest)
        if release not in mine and kept:
            found[release] = kept
    return found


def _is_of(calibration: KernelCalibration, version: str) -> bool:
    """Whether ``calibration`` was fitted to the release ``version``."""
    told = calibration.versions.get(calibration.framework, "")
    return version in (part.strip() for part in told.split(","))


def shipped_releases(calibration: KernelCalibration, table: Table, day: str) -> Iterator[KernelCalibration]:
    """A calibration of each other release."""
    for release, samples in older_releases(calibration, table).items():
        fits = [fitted(sample, day, ()).document for sample in samples]
        sources = dict.fromkeys(source for sample in samples for source in sample.sources)
        yield KernelCalibration(
            name=f"{calibration.name}.{release.replace('.', '-')}",
            device=calibration.device,
            framework=calibration.framework,
            versions={calibration.framework: release},
            source=f"fitted to tables of {', '.join(_SOURCES.get(source, source) for source in sources)}",
            fits={fit.family: fit for fit in fits},
        )


def main(arguments: list[str]) -> int:
    """Write the calibrations of all other releases in the tables of the one argument, a folder."""
    table = read_points(Path(arguments[0]))
    folder = Path(str(files("kvwall.hardware"))) / "calibrations" / "kernels"
    for name in KERNEL_CALIBRATIONS.names:
        if of_one_release(name) or name.count(".") != 2:
            continue
        for made in shipped_releases(KERNEL_CALIBRATIONS.load(name), table, date.today().isoformat()):
            save(folder / f"{made.name}.yaml", calibration_text(made))
            told = ", ".join(f"{fit.family} of {fit.n} points" for fit in made.fits.values())
            sys.stdout.write(f"{made.name}: {told}\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KvwallError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
