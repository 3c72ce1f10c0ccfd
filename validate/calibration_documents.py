"""What ``kvwall calibrate`` writes: a calibration for each device and framework, its folds, and its data sheet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from kvwall.hardware.calibration import KERNEL_CALIBRATIONS, KernelCalibration
from kvwall.hardware.document import read_text
from kvwall.hardware.library import is_path
from kvwall.simulator.cli.output import save
from kvwall.simulator.predicting.fits import SHEET_SUFFIX
from kvwall.simulator.predicting.folds import FOLD_SUFFIX, FoldParameters
from kvwall.simulator.predicting.names import framework_of
from kvwall.validate.calibrate import Made, shown
from kvwall.validate.calibration_text import calibration_text, folds_text

#: Libraries that ``kvwall measure`` times, folded.
_MEASURED_FRAMEWORKS = frozenset({"torch", "kvwall", "flashattn", "flashinfer", "xformers"})


@dataclass(frozen=True)
class Written:
    """What is written of one device and framework.

    :ivar sheet: name of the data sheet's copy beside the calibration, and its text; ``None`` of a device of the library
    """

    calibration: KernelCalibration
    folds: FoldParameters | None
    sheet: tuple[str, str] | None


def calibrations(made: tuple[Made, ...], output: Path, source: str) -> dict[Path, Written]:
    """The documents of all fits, one for each pair of device and framework, by where they go.

    A single pair goes to ``output``; several go beside it, as ``NAME.DEVICE.FRAMEWORK.yaml``. A data sheet that is no
    part of the library is copied beside them, so that a calibration does not lose its device when it moves.
    """
    pairs: dict[tuple[str, str], list[Made]] = {}
    for one in made:
        pairs.setdefault((one.sample.device, one.sample.framework), []).append(one)
    documents = {}
    for (device, framework), fits in pairs.items():
        file = framework.replace("(", "-").replace(")", "").replace("/", "-") or "unnamed"
        path = output if len(pairs) == 1 else output.with_name(f"{output.stem}.{_file_name(device)}.{file}.yaml")
        name = path.stem
        sheet = (f"{name}{SHEET_SUFFIX}", read_text(Path(device))) if is_path(device) else None
        folds = {one.document.family: one.folds for one in fits if one.folds}
        versions = sorted({version for one in fits for version in one.sample.versions})
        calibration = KernelCalibration(
            name=name,
            device=sheet[0] if sheet else device,
            framework=framework or "unnamed",
            versions={framework or "unnamed": ", ".join(versions) or "not stated"},
            source=source,
            fits={one.document.family: one.document for one in fits},
        )
        kept = FoldParameters(calibration=name, families=folds) if folds else None
        documents[path] = Written(calibration, kept, sheet)
    return documents


def unheard_of(made: tuple[Made, ...]) -> tuple[str, ...]:
    """What to say of frameworks that are near a known one without being it; any other name is as good as another."""
    known = {framework_of(name.split(".")[1]) for name in KERNEL_CALIBRATIONS.names} | _MEASURED_FRAMEWORKS
    told = []
    for framework in dict.fromkeys(one.sample.framework for one in made):
        if not framework:
            told.append("rows without a framework are a library of their own: name it in the column framework")
        elif framework not in known and (near := get_close_matches(framework, known, n=1, cutoff=0.75)):
            told.append(f"framework {framework!r} is not {near[0]!r}: its fits serve rows of that spelling first")
    return tuple(told)


def _file_name(device: str) -> str:
    """``device`` as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", shown(device).lower()).strip("-")


def write(documents: dict[Path, Written]) -> tuple[str, ...]:
    """Write all ``documents``; folds of an earlier fit that this one lacks are removed. Returns the paths."""
    written = []
    for path, one in documents.items():
        save(path, calibration_text(one.calibration))
        written.append(str(path))
        beside = path.with_name(path.stem + FOLD_SUFFIX)
        if one.folds is None:
            beside.unlink(missing_ok=True)
        else:
            save(beside, folds_text(one.folds))
            written.append(str(beside))
        if one.sheet is not None:
            name, text = one.sheet
            save(path.with_name(name), text)
            written.append(str(path.with_name(name)))
    return tuple(written)
