"""The error family of kvwall.

::

    KvwallError                 anything kvwall refuses, with one line that a person can act on
    |-- InputError              bad input: a file, an option or a value (exit 2)
    |   |-- UnknownNameError    a name that is in no library, with the nearest one
    |   `-- ForbiddenError      a combination that cannot exist (two schemes on one axis, kivi on MLA)
    `-- NoAnswerError           a well-formed question whose answer is "no" (exit 1)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

#: A word that nobody wrote on purpose: it is shown by its ends.
_ENDLESS = re.compile(r"\S{301,}")

#: Longer names are no misspelling of anything.
_LONGEST_NAME = 100


class KvwallError(Exception):
    """Anything kvwall refuses, with one line that a person can act on.

    The line stays one line whatever a file or an option held: what breaks lines becomes a space, and an endless word
    keeps its ends.
    """

    def __init__(self, message: str = "") -> None:
        line = " ".join(message.splitlines())
        super().__init__(_ENDLESS.sub(lambda word: f"{word[0][:100]}...{word[0][-60:]}", line))


class InputError(KvwallError):
    """Bad input: names the file or option, the value and what is allowed."""


class UnknownNameError(InputError):
    """A name that is in no library; names the nearest one."""


class ForbiddenError(InputError):
    """A combination that cannot exist, with the reason."""


class NoAnswerError(KvwallError):
    """A well-formed question whose answer is no, with the reason and the smallest change to a yes."""


def canonical(name: str) -> str:
    """``name`` without its case and without ``-``, ``_``, ``.``, ``/`` and spaces."""
    return "".join(character for character in name.lower() if character not in "-_./ ")


def suggestion(name: str, allowed: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the allowed name nearest to ``name``, or an empty string."""
    if len(name) > _LONGEST_NAME:
        return ""
    by_canonical = {canonical(option): option for option in allowed}
    matches = get_close_matches(canonical(name), by_canonical, n=1, cutoff=0.5)
    return f"; did you mean {by_canonical[matches[0]]!r}?" if matches else ""


def unknown_name(kind: str, name: str, allowed: Iterable[str], listed_by: str = "", most: int = 12) -> UnknownNameError:
    """The error for a ``name`` that is no ``kind``: nearest name first, then what is allowed if that is short.

    :param listed_by: the command that lists all names, told when they are too many and none is near
    :param most: names that are told at most where none is near
    """
    names = sorted(allowed)
    nearest = suggestion(name, names)
    listing = f" (allowed: {', '.join(names)})" if names and len(names) <= (12 if nearest else most) else ""
    if not listing and not nearest and listed_by:
        listing = f"; {listed_by!r} lists all"
    shown = name if len(name) <= 60 else f"{name[:60]}..."
    return UnknownNameError(f"unknown {kind} {shown!r}{nearest}{listing}")
