"""Flags of an engine, read from the lines that print its configuration or its command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

Flag = str | int | float | bool

#: Flags that a command sets by naming them.
SWITCHES = frozenset({"eager"})

_VALUE = r"""(?:'([^']*)'|"([^"]*)"|([^\s,(){}\[\]'"]+))"""


def configuration_flags(text: str, names: Mapping[str, str]) -> dict[str, Flag]:
    """The flags in ``text``, written as ``key=value`` or ``'key': value``; the first print of a key stands.

    :param names: the engine's own names, each with kvwall's name for it
    """
    found: dict[str, Flag] = {}
    for key, name in names.items():
        _keep(found, name, _configured(key).search(text))
    return found


def command_flags(text: str, names: Mapping[str, str]) -> dict[str, Flag]:
    """The flags in the shell command ``text``: ``--key value`` or ``--key=value``, with ``-`` or ``_`` in the key."""
    found: dict[str, Flag] = {}
    for key, name in names.items():
        if name in SWITCHES:
            if _switch(key).search(text):
                found[name] = True
        else:
            _keep(found, name, _on_command_line(key).search(text))
    return found


def flag_value(printed: str) -> Flag | None:
    """``printed`` as the number, truth value or word that it is; None for ``None`` and for nothing."""
    text = printed.strip().removeprefix("torch.").rstrip(";")
    if text in ("", "None", "null"):
        return None
    if text in ("True", "False"):
        return text == "True"
    if re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"-?\d{1,18}\.\d{1,18}", text, re.ASCII):
        return float(text)
    return text


def _keep(found: dict[str, Flag], name: str, match: re.Match[str] | None) -> None:
    if match is None or name in found:
        return
    value = flag_value(next((group for group in match.groups() if group is not None), ""))
    if value is not None:
        found[name] = value


@cache
def _configured(key: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])['\"]?{re.escape(key)}['\"]?\s?[=:]\s?{_VALUE}")


@cache
def _on_command_line(key: str) -> re.Pattern[str]:
    if len(key) <= 2:
        return re.compile(rf"(?<![\w-])-{{1,2}}{re.escape(key)}[ =]{_VALUE}")
    spelled = re.escape(key).replace("_", "[-_]")
    return re.compile(rf"(?<![\w-])--{spelled}(?:=|\s+){_VALUE}")


@cache
def _switch(key: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])--{re.escape(key).replace('_', '[-_]')}(?![\w-])")
