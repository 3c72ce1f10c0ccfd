"""``kvwall agree``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from kvwall.simulator.answers.agree import AgreeAnswer, AgreementRow, agree
from kvwall.simulator.cli.options import Json
from kvwall.simulator.cli.output import emit, table
from kvwall.simulator.cli.predict_command import Calibration, Points
from kvwall.simulator.cli.progress import progress_of

_COLUMNS = ("n", "median %", "p90 %", "p99 %", "bias %", "in band %")


def command(
    points: Points,
    by: Annotated[str, typer.Option(help="columns to group by, with commas between them")] = "",
    out_of_fold: Annotated[
        bool, typer.Option("--out-of-fold", help="predict each point by a fit that has not seen its shape")
    ] = False,
    calibration: Calibration = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="print the tables as Markdown")] = False,
    json: Json = False,
) -> None:
    """Predictions against measured times: quantiles of the error, bias, and how much the band holds."""
    columns = tuple(name.strip() for name in by.split(",") if name.strip())
    answer = agree(
        points, by=columns, out_of_fold=out_of_fold, calibration=calibration, progress=progress_of("rows predicted")
    )
    if as_markdown and not json:
        typer.echo(markdown(answer), nl=False)
        return
    emit(answer, json, render)


def render(answer: AgreeAnswer, screen: Console) -> None:
    """All points, then by regime and by the columns asked for; below, what was left out."""
    screen.print(Text(f"{answer.table}: predicted against measured", style="bold"))
    for title, rows in _sections(answer):
        if rows:
            names = _names(rows)
            screen.print(table(title, (*names, *_COLUMNS), [_cells(row) for row in rows], left=len(names)))
            screen.print()
    screen.print(_left_out(answer))
    if answer.unpredicted:
        reasons = [(why, f"{count:,}") for why, count in answer.unpredicted.items()]
        screen.print(table("", ("not predicted because", "rows"), reasons))


def markdown(answer: AgreeAnswer) -> str:
    """The same tables for a document."""
    lines = []
    for _, rows in _sections(answer):
        if rows:
            head = (*_names(rows), *_COLUMNS)
            lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
            lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
            lines.append("")
    return "\n".join([*lines, _left_out(answer), ""])


def _sections(answer: AgreeAnswer) -> Iterable[tuple[str, tuple[AgreementRow, ...]]]:
    yield "", () if answer.overall is None else (answer.overall,)
    yield "", answer.by_regime
    yield "", answer.groups


def _names(rows: tuple[AgreementRow, ...]) -> tuple[str, ...]:
    """What the first columns hold."""
    return tuple(rows[0].group) or ("points",)


def _cells(row: AgreementRow) -> list[str]:
    return [
        *([value or "-" for value in row.group.values()] or ["all"]),
        f"{row.n:,}",
        f"{_spread(row.median, row.median_interval)}",
        f"{_spread(row.p90, row.p90_interval)}",
        f"{row.p99 * 100:.0f}",
        f"{row.bias * 100:+.1f}",
        f"{row.inside_band * 100:.0f}",
    ]


def _spread(value: float, interval: tuple[float, float]) -> str:
    middle, low, high = (_percent(part) for part in (value, *interval))
    return f"{middle} ({low}-{high})"


def _percent(value: float) -> str:
    """A fraction as per cent; a tenth of one means nothing where the error is large."""
    return f"{value * 100:.1f}" if value < 0.1 else f"{value * 100:.0f}"


def _left_out(answer: AgreeAnswer) -> str:
    unpredicted = sum(answer.unpredicted.values())
    return (
        f"left out of {answer.rows:,} rows: {answer.flagged:,} flagged, {answer.unmeasured:,} not measured, "
        f"{unpredicted:,} not predicted"
    )
