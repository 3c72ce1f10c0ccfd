"""``kvwall diff``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from kvwall.simulator.answers.changes import FigureChange, PointChange
from kvwall.simulator.answers.diff import DiffAnswer, diff
from kvwall.simulator.answers.saved import Scalar
from kvwall.simulator.cli.options import Json
from kvwall.simulator.cli.output import emit, milliseconds, table, three

#: Terms and points beyond these are in the JSON document.
_MOST_TERMS = 12
_MOST_POINTS = 20

#: Figures that only say in words what others say.
_IN_WORDS = frozenset({"reason", "device_name"})

#: A longer text would push the numbers off the screen.
_LONGEST_TEXT = 36


def command(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="an answer saved with --json", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="another of the same command", show_default=False)],
    json: Json = False,
) -> None:
    """Two answers of step, compare, explain, fit or plan side by side, and each term's share of the difference."""
    emit(diff(a, b), json, render)


def render(answer: DiffAnswer, screen: Console) -> None:
    """The verdict, what was asked differently, the pairs of points, and the terms of the largest difference."""
    screen.print(Text(answer.verdict, style="bold"))
    screen.print(Text(f"A is {answer.a}, B is {answer.b}, both answers of {answer.command}"))
    _print_figures("set-up and totals", answer.differences, screen)
    if len(answer.points) > 1:
        _print_points(answer.points, screen)
    elif answer.points:
        _print_figures("figures", answer.points[0].figures, screen)
    billed = [point for point in answer.points if point.terms]
    if billed:
        _print_terms(max(billed, key=lambda point: abs(point.delta_s or 0.0)), screen)


def _print_figures(title: str, changes: tuple[FigureChange, ...], screen: Console) -> None:
    rows = [
        (c.key, _shown(c.a), _shown(c.b), "" if c.ratio is None else f"x {three(c.ratio)}")
        for c in changes
        if c.key not in _IN_WORDS
    ]
    if rows:
        screen.print(table(title, ("", "A", "B", "B / A"), rows))


def _print_points(points: tuple[PointChange, ...], screen: Console) -> None:
    def time(value: float | None) -> str:
        return "-" if value is None else milliseconds(value)

    rows = [
        (
            point.a if point.a == point.b else f"{point.a} | {point.b}",
            time(point.a_s),
            time(point.b_s),
            time(point.delta_s),
            "-" if point.ratio is None else f"x {three(point.ratio)}",
        )
        for point in points[:_MOST_POINTS]
    ]
    more = f" (first {_MOST_POINTS} of {len(points)})" if len(points) > _MOST_POINTS else ""
    screen.print(table(f"pairs{more}", ("", "A ms", "B ms", "B - A", "B / A"), rows))


def _print_terms(point: PointChange, screen: Console) -> None:
    rows = [
        (t.operator, t.name, milliseconds(t.a_s), milliseconds(t.b_s), milliseconds(t.delta_s), f"{t.share:.1%}")
        for t in point.terms[:_MOST_TERMS]
    ]
    rest = point.terms[_MOST_TERMS:]
    if rest:
        a_s, b_s, delta_s = (milliseconds(sum(getattr(t, key) for t in rest)) for key in ("a_s", "b_s", "delta_s"))
        rows.append((f"{len(rest)} smaller", "", a_s, b_s, delta_s, f"{sum(t.share for t in rest):.1%}"))
    where = point.a if point.a == point.b else f"{point.a} | {point.b}"
    columns = ("operator", "term", "A ms", "B ms", "B - A", "share")
    screen.print(table(f"terms at {where}", columns, rows, left=2))


def _shown(value: Scalar) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else f"{value[: _LONGEST_TEXT - 3]}..."
    return f"{value:,}" if isinstance(value, int) else three(value)
