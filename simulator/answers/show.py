"""``kvwall show``: everything that is known of one thing."""

from __future__ import annotations

import inspect
from typing import Any, get_args

from pydantic.fields import FieldInfo

from kvwall.hardware.document import Document
from kvwall.hardware.engine_calibration import find_engine_calibration, is_engine
from kvwall.hardware.errors import InputError, unknown_name
from kvwall.simulator.answers.base import Answer
from kvwall.simulator.answers.catalogue_rows import TRACE_FORMATS
from kvwall.simulator.answers.derived import DERIVED
from kvwall.simulator.answers.kinds import find_kind, library
from kvwall.simulator.answers.show_kernels import is_kernels, kernel_calibration


class ShowAnswer(Answer):
    """One thing.

    :ivar kind: ``device``, ``model``, ...
    :ivar name: the name that an alias or a path resolved to
    :ivar document: what its file says, in SI units
    :ivar derived: what follows from it
    """

    kind: str
    name: str
    document: dict[str, Any]
    derived: dict[str, Any]


def show(kind: str, name: str) -> ShowAnswer:
    """Everything that is known of ``name``.

    :param kind: ``device``, ``model``, ``scheme``, ..., singular or plural
    :param name: a name, an alias or the path of a file
    :raises UnknownNameError: no such kind or name, with the nearest
    :raises InputError: the file at a path is wrong
    """
    found = find_kind(kind)
    derived: dict[str, Any] = {}
    if found.plural == "schemes":
        resolved, document = _scheme(name)
    elif found.plural == "traces":
        resolved, document = _trace(name)
    elif found.plural == "calibrations" and is_engine(name):
        resolved, served = find_engine_calibration(name)
        document = served.model_dump(mode="json")
    elif found.plural == "calibrations" and is_kernels(name):
        resolved, document = kernel_calibration(name)
    else:
        resolved, made = _member(found.plural, name)
        document = made.model_dump(mode="json")
        derived = DERIVED[found.plural](resolved, made) if found.plural in DERIVED else {}
    notes = (f"{name!r} is {resolved}",) if resolved != name else ()
    return ShowAnswer(kind=found.singular, name=resolved, document=document, derived=derived, assumptions=notes)


def _member(plural: str, name: str) -> tuple[str, Document]:
    """The member of a library that ``name`` means, with its resolved name."""
    if not name.strip():
        raise InputError(f"NAME: is empty; 'kvwall list {plural}' lists all")
    if plural == "models":
        from kvwall.workloads.model_lookup import find_model

        return find_model(name)
    known = library(plural)
    if plural == "engines":
        from kvwall.hardware.engine_version import find_engine

        engine = find_engine(name)
        return next((member for member, made in known.all().items() if made is engine), name), engine
    is_path = name.endswith((".yaml", ".yml", ".json"))
    return (name if is_path else known.resolve(name)), known.load(name)


def _trace(name: str) -> tuple[str, dict[str, Any]]:
    found = {row.name: row for row in TRACE_FORMATS}
    if name not in found:
        raise unknown_name("trace format", name, found)
    return name, found[name].model_dump(mode="json", exclude={"aliases"})


def _scheme(name: str) -> tuple[str, dict[str, Any]]:
    """What a scheme says of itself, its options, and published quality."""
    from kvwall.simulator.quality import scheme_evidence
    from kvwall.simulator.stack import scheme_class

    scheme = scheme_class(name)
    return scheme.name, {
        "name": scheme.name,
        "title": scheme.title,
        "about": _plain(scheme.__doc__ or ""),
        "axes": sorted(scheme.axes),
        "options": [_option(key, field) for key, field in scheme.model_fields.items()],
        "equations": list(scheme.equations),
        "reference": scheme.reference,
        "limits": list(scheme.limits),
        "evidence": [entry.model_dump(mode="json", exclude={"scheme"}) for entry in scheme_evidence(scheme.name)],
    }


def _plain(docstring: str) -> str:
    """A docstring without its mark-up, a line per paragraph."""
    paragraphs = inspect.cleandoc(docstring).replace("``", "").split("\n\n")
    return "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _option(name: str, field: FieldInfo) -> dict[str, Any]:
    return {
        "name": name,
        "default": field.get_default(),
        "allowed": _allowed(field),
        "description": field.description or "",
    }


def _allowed(field: FieldInfo) -> str:
    """The values of an option in words: choices, a range, or both."""
    limits = {key: getattr(entry, key) for entry in field.metadata for key in _BOUNDS if hasattr(entry, key)}
    numbers = " ".join(f"{_BOUNDS[key]} {limits[key]:,}" for key in _BOUNDS if key in limits)
    choices: list[str] = []
    for part in _parts(field.annotation):
        if part is bool:
            choices += ["true", "false"]
        elif part in (int, float):
            choices.append(" ".join(filter(None, ("whole number" if part is int else "number", numbers))))
        elif part is not type(None):
            choices.append("text" if part is str else str(part))
    return ", ".join(dict.fromkeys(choices))


#: Bounds of pydantic fields in words.
_BOUNDS = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}


def _parts(annotation: Any) -> list[Any]:
    """The types of a union and the values of a literal, nested ones too."""
    inner = get_args(annotation)
    if not inner:
        return [] if isinstance(annotation, FieldInfo) else [annotation]
    return [part for argument in inner for part in _parts(argument)]


__all__ = ["ShowAnswer", "show"]
