"""Answers that were saved as JSON, read back as far as two of them can be held against each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from kvwall.hardware.document import explain_validation, read_text
from kvwall.hardware.errors import InputError

#: An answer with the bills of many points is large.
_LARGEST_BYTES = 200_000_000

#: Keys that only the answer of one command has, and the key of its list of points, if it has one.
_COMMANDS: dict[str, tuple[frozenset[str], str | None]] = {
    "plan": (frozenset({"candidates", "rejected"}), "candidates"),
    "fit": (frozenset({"fits", "per_gpu"}), None),
    "explain": (frozenset({"terms", "phase", "batch"}), None),
    "compare": (frozenset({"rows", "phase"}), "rows"),
    "step": (frozenset({"points", "phase"}), "points"),
}

#: What a point is told from its neighbours by, and the time it is about.
_KEYS: dict[str, tuple[tuple[str, ...], str]] = {
    "step": (("batch", "context", "query_tokens"), "step_s"),
    "explain": (("batch", "context"), "step_s"),
    "compare": (("scheme", "batch", "context"), "step_s"),
    "plan": (("scheme", "weights", "tp", "pp", "dp", "batch"), "tpot_s"),
}

Scalar = str | bool | int | float | None


class _SavedTerm(BaseModel):
    """The part of a term that a difference needs."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    owner: str
    operator: str
    name: str
    charged_s: float


class _SavedTerms(BaseModel):
    model_config = ConfigDict(extra="ignore")

    terms: tuple[_SavedTerm, ...] = ()


@dataclass(frozen=True)
class SavedPoint:
    """One point, row or candidate.

    :ivar key: what it is told from its neighbours by
    :ivar time_s: the time it is about; ``None`` where the answer has none
    :ivar figures: its scalars by dotted key; a band by its middle
    :ivar terms: seconds charged by owner, operator and name
    """

    key: tuple[tuple[str, Scalar], ...]
    time_s: float | None
    figures: Mapping[str, Scalar]
    terms: Mapping[tuple[str, str, str], float]

    @property
    def label(self) -> str:
        """The key in words; one new token per sequence goes without saying."""
        said = [(name, value) for name, value in self.key if (name, value) != ("query_tokens", 1)]
        return ", ".join(f"{name} {value:,}" if isinstance(value, (int, float)) else str(value) for name, value in said)


@dataclass(frozen=True)
class SavedAnswer:
    """One answer.

    :ivar command: the command that gave it
    :ivar version: of kvwall
    :ivar figures: top-level scalars by dotted key
    :ivar points: in order
    """

    path: str
    command: str
    version: str
    figures: Mapping[str, Scalar]
    points: tuple[SavedPoint, ...]


def read_answer(path: Path) -> SavedAnswer:
    """The answer that the file ``path`` holds.

    :raises InputError: cannot be read, is not JSON, is no answer of kvwall or of a command without a difference
    """
    where = str(path)
    try:
        data = json.loads(read_text(path, _LARGEST_BYTES))
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: line {error.lineno}: not JSON ({error.msg})") from None
    except (RecursionError, ValueError):
        raise InputError(f"{where}: not JSON (nested too deeply, or a number too long)") from None
    if not isinstance(data, dict) or not {"schema_version", "kvwall_version"} <= set(data):
        raise InputError(f"{where}: not an answer of kvwall (write one with --json)")
    command = next((name for name, (keys, _) in _COMMANDS.items() if keys <= set(data)), None)
    if command is None:
        raise InputError(f"{where}: not an answer of {', '.join(sorted(_COMMANDS)[:-1])} or {sorted(_COMMANDS)[-1]}")
    listed = _COMMANDS[command][1]
    left_out = {listed, "terms", "schema_version", "kvwall_version"}
    figures = dict(flatten({key: value for key, value in data.items() if key not in left_out}))
    return SavedAnswer(where, command, str(data["kvwall_version"]), figures, _points(data, command, where))


def _points(data: Mapping[str, Any], command: str, where: str) -> tuple[SavedPoint, ...]:
    listed = _COMMANDS[command][1]
    if command not in _KEYS:
        return ()
    entries = data[listed] if listed else [data]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{where}: {listed}: expected a list of keys and values")
    return tuple(
        _point(entry, command, f"{where}: {listed}.{position}" if listed else where)
        for position, entry in enumerate(entries)
        if not entry.get("refused")
    )


def _point(entry: Mapping[str, Any], command: str, where: str) -> SavedPoint:
    names, time_key = _KEYS[command]
    figures = dict(flatten({key: value for key, value in entry.items() if key != "terms"}))
    time_s = figures.get(time_key)
    if isinstance(time_s, str):
        raise InputError(f"{where}: {time_key}: expected a number or a band (found {time_s!r})")
    try:
        saved = _SavedTerms.model_validate(entry)
    except ValidationError as error:
        raise InputError(f"{where}: {explain_validation(error, _SavedTerms)}") from None
    terms: dict[tuple[str, str, str], float] = {}
    for term in saved.terms:
        name = (term.owner, term.operator, term.name)
        terms[name] = terms.get(name, 0.0) + term.charged_s
    key = tuple((name, figures[name]) for name in names if name in figures)
    return SavedPoint(key, None if time_s is None else float(time_s), figures, terms)


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Scalar]]:
    """The scalars of ``mapping`` by dotted key; a band becomes its middle, and lists are left out."""
    found: list[tuple[str, Scalar]] = []
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            if {"low", "mid", "high"} <= set(value):
                found.append((f"{prefix}{key}", value["mid"]))
            else:
                found += flatten(value, f"{prefix}{key}.")
        elif value is None or isinstance(value, (str, bool, int, float)):
            found.append((f"{prefix}{key}", value))
    return found
