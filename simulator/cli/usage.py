"""What is wrong with an option, in the words of who typed it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kvwall.hardware.errors import suggestion
from kvwall.hardware.validation import shortened

#: What a value should have been, by what the option parser says of it.
_EXPECTED = {"valid integer": "expected a whole number", "valid number": "expected a number"}


def explain_usage(error: Any, arguments: Sequence[str]) -> str:
    """A usage ``error`` of the option parser as one line that names the option, its value and what is allowed."""
    names = [name for name in getattr(getattr(error, "param", None), "opts", ()) if name.startswith("-")]
    typed = _typed(names, arguments)
    if typed is None:
        return str(error.format_message()).rstrip(".")
    option, value = typed
    problem = str(error.message).removeprefix("Value error, ").rstrip(".")
    choice = re.search(r"is not one of (.*)$", problem)
    if choice:
        allowed = re.findall(r"'([^']*)'", choice[1])
        problem = f"expected {choice[1]}{suggestion(value, allowed)}"
    problem = next((plain for part, plain in _EXPECTED.items() if part in problem), problem)
    return f"{option} {shortened(value)}: {problem}"


def _typed(names: Sequence[str], arguments: Sequence[str]) -> tuple[str, str] | None:
    """The option called one of ``names`` and its value among ``arguments``, as they were typed."""
    for position, argument in enumerate(arguments):
        option, separator, value = argument.partition("=")
        if option in names:
            following = arguments[position + 1 : position + 2]
            return (option, value) if separator else (option, following[0]) if following else None
    return None
