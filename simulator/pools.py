"""Pools of ``--on``: devices of their own for prefill and for decode."""

from __future__ import annotations

from kvwall.hardware.errors import InputError, suggestion
from kvwall.hardware.validation import shortened

_ROLES = ("prefill", "decode")


def pool(on: str, phase: str) -> str:
    """The pool of ``--on`` for ``phase``: all of it, or the role's own in ``prefill=...,decode=...``."""
    if "=" not in on:
        return on
    roles: dict[str, str] = {}
    for part in on.split(","):
        role, separator, text = part.partition("=")
        role = role.strip()
        if not separator or role not in _ROLES:
            nearest = suggestion(role, _ROLES)
            raise InputError(
                f"--on {shortened(on)}: {shortened(part)} is not a pool{nearest} (write prefill=h100:8,decode=h20:8)"
            )
        if role in roles:
            raise InputError(f"--on {shortened(on)}: the pool {role!r} stands twice")
        roles[role] = text.strip()
    if phase not in roles:
        raise InputError(f"--on {shortened(on)}: has no pool for {phase} (write prefill=h100:8,decode=h20:8)")
    return roles[phase]


def one_pool(on: str, question: str) -> None:
    """Refuse pools where a question is about one machine.

    :param question: the subject of the refusal, e.g. ``"fit"``
    :raises InputError: ``on`` names pools
    """
    if "=" in on:
        first = on.split(",")[0].partition("=")[2].strip()
        raise InputError(f"--on {shortened(on)}: {question} asks about one pool at a time (write {shortened(first)})")
