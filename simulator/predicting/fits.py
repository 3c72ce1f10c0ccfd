"""The fits that may price a table: all that ship with kvwall, or the one calibration that was named."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from kvwall.hardware.calibration import CALIBRATIONS, KERNEL_CALIBRATIONS, KernelCalibration, of_one_release
from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import InputError, canonical, unknown_name
from kvwall.simulator.predicting.choosing import Chooser, Fitted
from kvwall.simulator.predicting.earlier_plans import lenders
from kvwall.simulator.predicting.families import families
from kvwall.simulator.predicting.folds import FOLD_SUFFIX, FoldParameters, folds_of, matching
from kvwall.simulator.predicting.machines import architecture
from kvwall.simulator.predicting.names import device_of

#: Parts of calibrations that another generation lends: attention, whose name says no part, and collectives.
_LENT_PARTS = ("", "collectives")

#: Ending of the data sheet that stands beside a calibration of a device that the library lacks.
SHEET_SUFFIX = ".device.yaml"

#: Regimes of a fit's residual, by rising ideal time.
_REGIMES = ("below 10 us", "10 to 100 us", "above 100 us")


def chooser_of(calibration: str | None, *, out_of_fold: bool = False) -> Chooser:
    """The chooser that a calibration's name means.

    :param calibration: a kernel calibration by name or path, or a folder of them; ``none`` for the class defaults;
        ``None`` for all that ship with kvwall, of which device and framework choose
    :param out_of_fold: price each point by a fit that has not seen its shape
    :raises InputError: no such calibration, or one that fits no kernel model of this version
    """
    if calibration is None:
        return Chooser(shipped(), out_of_fold=out_of_fold)
    if _means_none(calibration):
        return Chooser(out_of_fold=out_of_fold)
    folder = Path(calibration)
    if folder.is_dir():
        beside = (FOLD_SUFFIX, SHEET_SUFFIX)
        names = sorted(str(path) for path in folder.glob("*.yaml") if not path.name.endswith(beside))
        if not names:
            raise InputError(f"--calibration {calibration}: the folder holds no calibration")
        return Chooser(tuple(fit for name in names for fit in _named(name)), out_of_fold=out_of_fold)
    return Chooser(tuple(_named(calibration)), out_of_fold=out_of_fold)


@lru_cache(maxsize=64)
def near_chooser(device_id: str) -> Chooser:
    """The chooser of the fits on ``device_id``, on its architecture for parts that it lacks, on others for the rest.

    Reads no other file: of another generation only what may be lent, the nearest first.

    A step is never priced out of fold, so the folds are not read either; nor of an older release than the newest.
    """
    newest = (name for name in KERNEL_CALIBRATIONS.names if not of_one_release(name))
    measured = {name: DEVICES.resolve(name.partition(".")[0]) for name in newest}
    own = [name for name, device in measured.items() if device == device_id]
    parts = {_part(name) for name in own}
    kin = [
        name
        for name, device in measured.items()
        if device != device_id and _part(name) not in parts and architecture(device) == architecture(device_id)
    ]
    parts |= {_part(name) for name in kin}
    lent = [
        name
        for lender in lenders(device_id, measured.values())
        for name, device in measured.items()
        if device == lender and _part(name) in _LENT_PARTS and _part(name) not in parts
    ]
    return Chooser(tuple(fit for name in (*own, *kin, *lent) for fit in _fits(KERNEL_CALIBRATIONS.load(name))))


def _part(name: str) -> str:
    """What a calibration named ``DEVICE.FRAMEWORK[.PART]`` is of: ``gemm``, ``collectives``...; attention if unsaid."""
    _, _, part, *_ = [*name.split("."), ""]
    return part


@lru_cache(maxsize=1)
def shipped() -> tuple[Fitted, ...]:
    """All fits that ship with kvwall, of families as they are now."""
    return tuple(fit for name in KERNEL_CALIBRATIONS.names for fit in _loaded(name))


def _means_none(calibration: str) -> bool:
    """Whether class defaults are meant."""
    spellings = {canonical(name) for name in ("none", *CALIBRATIONS.names)}
    return canonical(calibration) in spellings


def _named(calibration: str) -> list[Fitted]:
    if not calibration.endswith((".yaml", ".yml")):
        known = {canonical(name): name for name in KERNEL_CALIBRATIONS.names}
        if canonical(calibration) not in known:
            raise unknown_name("calibration", calibration, {*known.values(), "none"}, "kvwall list calibrations")
        calibration = known[canonical(calibration)]
    found = list(_loaded(calibration))
    if not found:
        raise InputError(f"--calibration {calibration}: fits no kernel model of this version of kvwall")
    return found


def _loaded(name: str) -> Iterator[Fitted]:
    """The fits of the calibration of that name or path, with their folds."""
    calibration = KERNEL_CALIBRATIONS.load(name)
    device = device_of(calibration.device, Path(name).parent)
    if not device.name:
        raise InputError(f"{name}: device: {device.why.removeprefix('gpu ').replace('unknown gpu', 'unknown device')}")
    return _fits(calibration.model_copy(update={"device": device.name}), folds_of(name))


def _fits(calibration: KernelCalibration, folds: FoldParameters | None = None) -> Iterator[Fitted]:
    """The fits of ``calibration`` to kernel models that exist; their parameters must be those of the model."""
    device = DEVICES.resolve(calibration.device)
    for name, fit in calibration.fits.items():
        family = families().get(name)
        if family is None or {parameter.name for parameter in family.parameters} != set(fit.parameters):
            continue
        yield Fitted(
            calibration=calibration.name,
            device=device,
            framework=calibration.framework,
            family=family,
            parameters=fit.parameters,
            residual=(fit.residual[_REGIMES[0]], fit.residual[_REGIMES[1]], fit.residual[_REGIMES[2]]),
            folds=matching(family, folds),
            n=fit.n,
            range=fit.range,
            version=calibration.versions.get(calibration.framework, ""),
        )
