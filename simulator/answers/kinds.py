"""The kinds of things that kvwall knows by name, for ``kvwall list`` and ``kvwall show``."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from kvwall.hardware.errors import UnknownNameError, canonical
from kvwall.hardware.library import Library


@dataclass(frozen=True)
class Kind:
    """One kind of thing.

    :ivar plural: as ``list`` calls it
    :ivar singular: as ``show`` calls it
    :ivar what: one line of what it is
    """

    plural: str
    singular: str
    what: str


KINDS: tuple[Kind, ...] = (
    Kind("devices", "device", "accelerators and host processors, for --on"),
    Kind("models", "model", "architectures, for MODEL"),
    Kind("schemes", "scheme", "ways of shrinking the cache, for --scheme"),
    Kind("techniques", "technique", "published systems that are no scheme, and how to ask for them"),
    Kind("weights", "weight", "formats of weights, for --weights"),
    Kind("engines", "engine", "how serving engines spend memory and host time, for --engine"),
    Kind("systems", "system", "nodes: hosts and networks around the devices"),
    Kind("scenarios", "scenario", "whole questions, for kvwall plan"),
    Kind("calibrations", "calibration", "what kernels reach of a data sheet, for --calibration"),
    Kind("traces", "trace", "public formats of request traces, given by path"),
)


def find_kind(text: str) -> Kind:
    """The kind that ``text`` means, singular or plural, whatever its case.

    :raises UnknownNameError: no such kind, with the nearest and all of them
    """
    spelled = {canonical(spelling): kind for kind in KINDS for spelling in (kind.plural, kind.singular)}
    if canonical(text) in spelled:
        return spelled[canonical(text)]
    near = get_close_matches(canonical(text), spelled, n=1, cutoff=0.5)
    hint = f"; did you mean {spelled[near[0]].plural!r}?" if near else ""
    allowed = ", ".join(kind.plural for kind in KINDS)
    raise UnknownNameError(f"unknown kind {text[:60]!r}{hint} (allowed: {allowed})")


#: Module and name of the library of each kind that is a folder of YAML files.
_LIBRARIES: dict[str, tuple[str, str]] = {
    "devices": ("kvwall.hardware.device", "DEVICES"),
    "models": ("kvwall.workloads.model_spec", "MODELS"),
    "techniques": ("kvwall.simulator.technique", "TECHNIQUES"),
    "weights": ("kvwall.workloads.weight_format", "WEIGHTS"),
    "engines": ("kvwall.hardware.engine", "ENGINES"),
    "systems": ("kvwall.hardware.system", "NODES"),
    "scenarios": ("kvwall.workloads.scenario", "SCENARIOS"),
    "calibrations": ("kvwall.hardware.calibration", "CALIBRATIONS"),
}


def library_kinds() -> tuple[str, ...]:
    """The kinds that are folders of YAML files."""
    return tuple(_LIBRARIES)


def libraries(plural: str) -> tuple[Library[Any], ...]:
    """All libraries of a kind: the fits of kernels and the constants of engines are calibrations too."""
    if plural != "calibrations":
        return (library(plural),)
    from kvwall.hardware.calibration import KERNEL_CALIBRATIONS
    from kvwall.hardware.engine_calibration import ENGINE_CALIBRATIONS

    return (library(plural), KERNEL_CALIBRATIONS, ENGINE_CALIBRATIONS)


def count(plural: str) -> int:
    """How many members of a kind ship with kvwall; no file is read."""
    return sum(len(known.names) for known in libraries(plural))


def library(plural: str) -> Library[Any]:
    """The library of a kind in :func:`library_kinds`, imported when it is asked for."""
    module, name = _LIBRARIES[plural]
    found: Library[Any] = getattr(import_module(module), name)
    return found
