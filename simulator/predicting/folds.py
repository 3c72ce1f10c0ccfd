"""Folds by shape, and the parameters that a fit finds without each of them.

A calibration keeps, beside its parameters, those of five fits that each left out a fifth of the shapes. They are a few
numbers, and from them the prediction of any point by a fit that has not seen its shape can be had again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kvwall.hardware.document import Document, read_document
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.traffic import Array

#: Parts that the shapes of a family are split into; each is predicted by a fit to the others.
FOLDS = 5

#: Columns of a shape that a row states itself.
_STATED = ("moved_bytes", "flops")

#: Ending of the file that stands beside a calibration of one's own.
FOLD_SUFFIX = ".folds.yaml"


class FoldParameters(Document):
    """Parameters of each family of a calibration, fitted without the shapes of each fold.

    :ivar calibration: whose folds they are
    :ivar families: by name, one set of parameters per fold, in the order of the folds
    """

    calibration: str
    families: dict[str, tuple[dict[str, float], ...]] = Field(min_length=1)


def fold_of(points: Points, folds: int = FOLDS) -> NDArray[np.int64]:
    """The fold, from 0 up, of each point: a hash of its shape, the same on every machine and in any order of rows."""
    # What a row states of its own kernel comes last, and counts where it states anything: the folds of all other
    # kernels are those that calibrations were shipped with.
    names = [*(field.name for field in fields(points) if field.name not in _STATED), *_STATED]
    columns = np.broadcast_arrays(*(np.asarray(getattr(points, name), dtype=float) for name in names))
    table = np.stack([column.ravel() for column in columns], axis=1).astype("<f8") + 0.0  # -0.0 is 0.0
    shapes, inverse = np.unique(table, axis=0, return_inverse=True)
    told = (shape if shape[-len(_STATED) :].any() else shape[: -len(_STATED)] for shape in shapes)
    digests = [hashlib.blake2b(shape.tobytes(), digest_size=8).digest() for shape in told]
    numbers = np.array([int.from_bytes(digest, "big") % folds for digest in digests], dtype=np.int64)
    return np.asarray(numbers[inverse.ravel()])


def folds_of(calibration: str) -> FoldParameters | None:
    """The fold parameters of a calibration by its name or path; ``None`` where none were kept."""
    if calibration.endswith((".yaml", ".yml")):
        path = Path(calibration).with_suffix("")
        path = path.with_name(path.name + FOLD_SUFFIX)
    else:
        path = Path(str(files("kvwall.hardware"))) / "calibrations" / "folds" / f"{calibration}.yaml"
    return read_document(path, FoldParameters) if path.is_file() else None


def matching(family: Family, kept: FoldParameters | None) -> tuple[Mapping[str, float], ...]:
    """The fold parameters of ``family``; none where they were kept for an older form of it."""
    found = kept.families.get(family.name, ()) if kept is not None else ()
    wanted = {parameter.name for parameter in family.parameters}
    return found if len(found) == FOLDS and all(set(parameters) == wanted for parameters in found) else ()


def out_of_fold_s(family: Family, folds: tuple[Mapping[str, float], ...], points: Points, machine: Machine) -> Array:
    """Seconds of each point by the fit that has not seen its shape."""
    number = fold_of(points)
    seconds = np.zeros(number.shape)
    for fold, parameters in enumerate(folds):
        inside = np.flatnonzero(number == fold)
        if inside.size:
            seconds[inside] = family.seconds(points.take(inside), parameters, machine)
    return seconds
