"""``kvwall diff``: two answers side by side, and which terms make the difference."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.base import Answer
from kvwall.simulator.answers.changes import FigureChange, PointChange, figure_changes, point_change
from kvwall.simulator.answers.saved import SavedAnswer, SavedPoint, Scalar, read_answer

#: Figures of a plan that a verdict tells, in this order.
_PLAN_FIGURES = ("usd_per_million_tokens", "tokens_per_s", "tpot_s", "users")


class DiffAnswer(Answer):
    """Two answers of one command; terms are ordered by the size of their difference."""

    command: str
    a: str
    b: str
    verdict: str
    differences: tuple[FigureChange, ...]
    points: tuple[PointChange, ...]


def diff(a: Path, b: Path) -> DiffAnswer:
    """What changes from the answer in file ``a`` to the one in ``b``.

    Points are paired by what they are told apart by (batch and context, scheme, split); where no pair agrees, in order.

    :raises InputError: a file that holds no answer, or answers of two commands
    """
    first, second = read_answer(a), read_answer(b)
    if first.command != second.command:
        raise InputError(
            f"{first.path} is an answer of {first.command!r} and {second.path} one of {second.command!r}: "
            "expected two of one command"
        )
    pairs, warnings = _pair(first, second)
    points = tuple(point_change(*pair) for pair in pairs)
    differences = figure_changes(first.figures, second.figures)
    if first.version != second.version:
        warnings.append(f"made by kvwall {first.version} and {second.version}: equations may differ too")
    return DiffAnswer(
        command=first.command,
        a=first.path,
        b=second.path,
        verdict=_verdict(first, second, points),
        differences=differences,
        points=points,
        warnings=tuple(warnings),
    )


def _pair(first: SavedAnswer, second: SavedAnswer) -> tuple[list[tuple[SavedPoint, SavedPoint]], list[str]]:
    """Points of both answers in pairs, and what has no partner."""
    others = {point.key: point for point in reversed(second.points)}
    ours = {point.key: point for point in reversed(first.points)}
    pairs = [(point, others[point.key]) for point in first.points if ours[point.key] is point and point.key in others]
    if not pairs:
        pairs = list(zip(first.points, second.points, strict=False))
        left = abs(len(first.points) - len(second.points))
        return pairs, [f"{left} points of the longer answer have no partner"] if left else []
    paired = {point.key for point, _ in pairs}
    alone = [
        f"only in {answer.path}: {point.label}"
        for answer in (first, second)
        for point in answer.points
        if point.key not in paired
    ]
    return pairs, alone[:5] + ([f"{len(alone) - 5} more have no partner"] if len(alone) > 5 else [])


def _verdict(first: SavedAnswer, second: SavedAnswer, pairs: Iterable[PointChange]) -> str:
    """One line: what changes most, by how much, and through what."""
    if first.command == "fit":
        return _fit_verdict(first.figures.get("kv_tokens"), second.figures.get("kv_tokens"))
    if first.command == "plan":
        return _plan_verdict(first, second)
    timed = [(pair.delta_s, pair.a_s, pair) for pair in pairs if pair.delta_s is not None and pair.a_s is not None]
    if not timed:
        return "nothing to compare"
    delta_s, a_s, pair = max(timed, key=lambda entry: abs(entry[0]))
    more = f" (the largest of {len(timed)} differences)" if len(timed) > 1 and delta_s else ""
    where = f" at {pair.a}" if pair.a == pair.b else f" ({pair.a} against {pair.b})"
    if not delta_s:
        return f"both take {a_s * 1e3:.4g} ms{where}"
    percent = f" ({pair.ratio - 1:+.1%})" if pair.ratio is not None else ""
    word = "slower" if delta_s > 0 else "faster"
    return f"B is {abs(delta_s) * 1e3:.3g} ms {word}{percent}{where}{more}{_cause(pair)}"


def _fit_verdict(a: Scalar, b: Scalar) -> str:
    if not isinstance(a, (int, float)) or not isinstance(b, (int, float)):
        return "nothing to compare"
    if a == b:
        return f"both hold {a:,.0f} tokens"
    times = f" ({b / a:.2f} times)" if a else ""
    return f"A holds {a:,.0f} tokens, B {b:,.0f}{times}"


def _plan_verdict(first: SavedAnswer, second: SavedAnswer) -> str:
    """The best candidate of each, and what the better one gains."""
    if not first.points or not second.points:
        empty = [name for name, answer in (("A", first), ("B", second)) if not answer.points]
        return f"{' and '.join(empty)} found no plan"
    best, other = first.points[0], second.points[0]
    named = f"same best: {best.label}" if best.key == other.key else f"best of A: {best.label}; of B: {other.label}"
    changes = {change.key: change for change in figure_changes(best.figures, other.figures)}
    ratios = [(key, changes[key].ratio) for key in _PLAN_FIGURES if key in changes]
    gains = [f"{key} x {ratio:.2f}" for key, ratio in ratios if ratio is not None and f"{ratio:.2f}" != "1.00"]
    return f"{named}{'; ' if gains else ''}{', '.join(gains)}"


def _cause(pair: PointChange) -> str:
    """The term that pushes most in the direction of the difference; what pushes back, if that exceeds all of it."""
    pushing = [change for change in pair.terms if change.share > 0]
    if not pushing:
        return ""
    most = max(pushing, key=lambda change: change.share)
    if most.share <= 1:
        return f"; {most.share:.0%} of it from {most.operator!r}: {most.name}"
    against = min(pair.terms, key=lambda change: change.share)
    most_ms, against_ms = most.delta_s * 1e3, against.delta_s * 1e3
    return f"; {most.operator!r}: {most.name} {most_ms:+.3g} ms, against it {against.name} {against_ms:+.3g} ms"
