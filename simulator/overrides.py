"""``--set PATH=VALUE``: change one figure of a description before it is used."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel

from kvwall.hardware.document import Document, validate_mapping
from kvwall.hardware.errors import InputError, suggestion, unknown_name
from kvwall.hardware.validation import field_names, shortened

D = TypeVar("D", bound=Document)

#: The first word of a path, and what it changes.
TARGETS = ("device", "system", "model", "engine")


def parse_overrides(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """``["device.hbm.bandwidth=4 TB/s"]`` as ``{"device": {"hbm.bandwidth": "4 TB/s"}}``.

    :raises InputError: not ``PATH=VALUE``, or a path that starts with no known target
    """
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        path, separator, value = text.partition("=")
        target, dot, rest = path.strip().partition(".")
        if not separator or not dot or not rest or not value.strip():
            raise InputError(f'--set {shortened(text)}: write PATH=VALUE, as in device.hbm.bandwidth="4 TB/s"')
        if target not in TARGETS:
            raise unknown_name("target of --set", target, TARGETS)
        found.setdefault(target, {})[rest] = value.strip()
    return found


def overridden(document: D, changes: dict[str, str], target: str) -> D:
    """``document`` with the values at the paths of ``changes`` replaced and everything checked again.

    :param target: how the document is called in ``--set``
    :raises InputError: a key that does not exist, with the nearest one, or a value that is not allowed
    """
    if not changes:
        return document
    data = document.model_dump(by_alias=True)
    for path, value in changes.items():
        _place(data, type(document), path, value, f"--set {shortened(f'{target}.{path}={value}')}")
    return validate_mapping(data, type(document), f"--set {target}")


def _place(data: dict[str, Any], model: type[BaseModel], path: str, value: str, where: str) -> None:
    """Put ``value`` at the dotted ``path``; a key may also be written as ``host_memory`` for ``host.memory``."""
    here: Any = data
    parts = path.split(".")
    for position, part in enumerate(parts):
        if isinstance(here, (list, tuple)):
            here = _element(here, part, where)
            continue
        if not isinstance(here, dict):
            raise InputError(f"{where}: {'.'.join(parts[:position])} is a value and holds no keys")
        key = _key(here, part)
        if key is None:
            allowed = sorted(here) or field_names(model)
            listing = f" (allowed: {', '.join(allowed)})"
            raise InputError(f"{where}: unknown key {shortened(part)}{suggestion(part, allowed)}{listing}")
        if isinstance(key, tuple):
            here, key = here[key[0]], key[1]
        if position == len(parts) - 1:
            here[key] = value
            return
        here[key] = _open(here[key])
        here = here[key]
    raise InputError(f"{where}: names a list, not a value")


def _open(value: Any) -> Any:
    """A tuple as a list, so that an element can be replaced."""
    return [dict(item) if isinstance(item, dict) else item for item in value] if isinstance(value, tuple) else value


def _element(items: Any, part: str, where: str) -> Any:
    if not re.fullmatch(r"[0-9]{1,6}", part) or int(part) >= len(items):
        raise InputError(f"{where}: {shortened(part)} is not a position from 0 to {len(items) - 1}")
    return items[int(part)]


def _key(here: dict[str, Any], part: str) -> str | tuple[str, str] | None:
    """The key that ``part`` means: itself, without its unit suffix, or ``outer_inner`` for a nested one."""
    if part in here:
        return part
    for key, value in here.items():
        if part.startswith(f"{key}_") and isinstance(value, dict) and part.removeprefix(f"{key}_") in value:
            return key, part.removeprefix(f"{key}_")
        if part.startswith(f"{key}_") and part.endswith(("_bytes", "_s", "_hz", "_w", "_per_s", "_usd")):
            return key
    return None
