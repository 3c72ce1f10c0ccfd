"""``kvwall show calibration`` of fitted kernels: each family's parameters with unit and meaning, errors, provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kvwall.hardware.calibration import (
    CALIBRATIONS,
    KERNEL_CALIBRATIONS,
    KernelCalibration,
    KernelFit,
    of_one_release,
)
from kvwall.hardware.document import parse_mapping, read_text
from kvwall.hardware.errors import UnknownNameError, canonical, unknown_name

_FILES = (".yaml", ".yml", ".json")


def is_kernels(name: str) -> bool:
    """Whether ``name`` is no class defaults: a file says ``fits``, and what has no such name is looked for here."""
    if not name.strip():
        return False
    if name.endswith(_FILES):
        return "fits" in parse_mapping(read_text(Path(name)), name)
    try:
        CALIBRATIONS.resolve(name)
    except UnknownNameError:
        return True
    return False


def kernel_calibration(name: str) -> tuple[str, dict[str, Any]]:
    """The fits that ``name`` means: one file's, or of ``DEVICE.FRAMEWORK`` all its parts, as answers cite them.

    :raises UnknownNameError: no such calibration, with the nearest
    """
    resolved, members = _members(name)
    made = [KERNEL_CALIBRATIONS.load(member) for member in members]
    document: dict[str, Any] = {
        "name": resolved,
        "device": made[0].device,
        "framework": made[0].framework,
        "parts": members if len(members) > 1 else [],
        "versions": _versions(made),
        "fits": [_fit(fit) for one in made for fit in one.fits.values()],
        "source": "; ".join(dict.fromkeys(one.source for one in made)),
    }
    return resolved, document


def _members(name: str) -> tuple[str, list[str]]:
    """The resolved name, and the files that it stands for."""
    if name.endswith(_FILES):
        return name, [name]
    known = KERNEL_CALIBRATIONS.names
    wholes = {canonical(whole): whole for whole in (".".join(member.split(".")[:2]) for member in known)}
    whole = wholes.get(canonical(name))
    if whole is not None:
        parts = (member for member in known if member == whole or member.startswith(f"{whole}."))
        return whole, [member for member in parts if not of_one_release(member)]
    try:
        found = KERNEL_CALIBRATIONS.resolve(name)
    except UnknownNameError:
        names = {*CALIBRATIONS.names, *known}
        raise unknown_name("calibration", name, names, "kvwall list calibrations") from None
    return found, [found]


def _versions(made: list[KernelCalibration]) -> dict[str, str]:
    """Versions that were measured; several of one software side by side."""
    found: dict[str, dict[str, None]] = {}
    for one in made:
        for software, version in one.versions.items():
            found.setdefault(software, {})[version] = None
    return {software: ", ".join(versions) for software, versions in found.items()}


def _fit(fit: KernelFit) -> dict[str, Any]:
    """A fit with what its family says of each parameter."""
    from kvwall.simulator.predicting.families import families

    family = families().get(fit.family)
    known = {parameter.name: parameter for parameter in family.parameters} if family else {}
    document = fit.model_dump(mode="json")
    document["parameters"] = [
        {
            "name": name,
            "value": value,
            "unit": known[name].unit if name in known else "",
            "meaning": known[name].meaning if name in known else "",
        }
        for name, value in fit.parameters.items()
    ]
    return {**document, "reference": family.reference if family else ""}
