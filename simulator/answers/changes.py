"""What changes between two answers: figures, points and terms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from kvwall.simulator.answers.base import Part
from kvwall.simulator.answers.saved import SavedPoint, Scalar

#: Two numbers this close are the same number, written by two machines.
_SAME = 1e-9


class FigureChange(Part):
    """One scalar that differs; ``ratio`` is b over a."""

    key: str
    a: Scalar
    b: Scalar
    ratio: float | None


class TermChange(Part):
    """One term; ``share`` is its part of the difference of the two times, so that shares add up to 1."""

    owner: str
    operator: str
    name: str
    a_s: float
    b_s: float
    delta_s: float
    share: float


class PointChange(Part):
    """One pair of points, rows or candidates; ``delta_s`` below 0 says that b is faster."""

    a: str
    b: str
    a_s: float | None
    b_s: float | None
    delta_s: float | None
    ratio: float | None
    figures: tuple[FigureChange, ...]
    terms: tuple[TermChange, ...]


def point_change(first: SavedPoint, second: SavedPoint) -> PointChange:
    """What changes from one point to another."""
    a_s, b_s = first.time_s, second.time_s
    both = a_s is not None and b_s is not None
    return PointChange(
        a=first.label,
        b=second.label,
        a_s=a_s,
        b_s=b_s,
        delta_s=b_s - a_s if a_s is not None and b_s is not None else None,
        ratio=_ratio(a_s, b_s) if both else None,
        figures=figure_changes(first.figures, second.figures),
        terms=term_changes(first.terms, second.terms),
    )


def term_changes(
    first: Mapping[tuple[str, str, str], float], second: Mapping[tuple[str, str, str], float]
) -> tuple[TermChange, ...]:
    """The terms that differ, largest difference first; none where one answer carries no bill."""
    if not first or not second:
        return ()
    names = list(dict.fromkeys([*first, *second]))
    deltas = {name: second.get(name, 0.0) - first.get(name, 0.0) for name in names}
    total = sum(deltas.values())
    changes = [
        TermChange(
            owner=name[0],
            operator=name[1],
            name=name[2],
            a_s=first.get(name, 0.0),
            b_s=second.get(name, 0.0),
            delta_s=deltas[name],
            share=deltas[name] / total if total else 0.0,
        )
        for name in names
        if not math.isclose(first.get(name, 0.0), second.get(name, 0.0), rel_tol=_SAME)
    ]
    return tuple(sorted(changes, key=lambda change: -abs(change.delta_s)))


def figure_changes(first: Mapping[str, Scalar], second: Mapping[str, Scalar]) -> tuple[FigureChange, ...]:
    """The scalars that differ, those that only one of them has too."""
    keys: Iterable[str] = dict.fromkeys([*first, *second])
    return tuple(
        FigureChange(key=key, a=first.get(key), b=second.get(key), ratio=_ratio(first.get(key), second.get(key)))
        for key in keys
        if not _same(first.get(key), second.get(key))
    )


def _is_number(value: Scalar) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _same(a: Scalar, b: Scalar) -> bool:
    if _is_number(a) and _is_number(b):
        return math.isclose(float(a or 0), float(b or 0), rel_tol=_SAME)
    return type(a) is type(b) and a == b


def _ratio(a: Scalar, b: Scalar) -> float | None:
    if not (_is_number(a) and _is_number(b)) or not a:
        return None
    ratio = float(b or 0) / float(a)
    return ratio if math.isfinite(ratio) else None
