"""``kvwall reproduce`` at the command line."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from kvwall.simulator.cli.options import Json
from kvwall.simulator.cli.output import emit, table
from kvwall.simulator.cli.progress import progress_of
from kvwall.validate.reproducing.reproduce import ReproduceAnswer, Reproduction
from kvwall.validate.reproducing.reproduce import reproduce as reproduced

_STYLES = {"reproduced": "green", "close": "yellow", "off": "red", "not predictable": "dim"}


def reproduce(
    system: Annotated[str | None, typer.Option("--system", help="only this system", show_default=False)] = None,
    json: Json = False,
) -> None:
    """Published results of every system beside what the model predicts for their set-up."""
    emit(reproduced(system, progress_of("published results")), json, _render)


def _render(answer: ReproduceAnswer, screen: Console) -> None:
    for system in dict.fromkeys(row.system for row in answer.rows):
        rows = [row for row in answer.rows if row.system == system]
        cells = [_cells(row) for row in rows]
        screen.print(table(system, ("row", "published", "predicted", "unit", "ratio", "verdict"), cells, left=1))
        for row in rows:
            if row.note and row.verdict in {"off", "not predictable"}:
                screen.print(Padding(Text(f"{row.id}: {row.note}", style="dim"), (0, 0, 0, 2)))
    screen.print(summary(answer))


def summary(answer: ReproduceAnswer) -> str:
    """Counts of the verdicts in one line."""
    told = ", ".join(f"{count} {name}" for name, count in answer.verdicts.items())
    return f"{len(answer.rows)} published results: {told}"


def _cells(row: Reproduction) -> list[str | Text]:
    low, high = row.published if isinstance(row.published, tuple) else (row.published, row.published)
    published = f"{low:.4g}" if low == high else f"{low:.4g} - {high:.4g}"
    predicted = "-" if row.predicted is None else f"{row.predicted:.4g}"
    ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
    return [row.id, published, predicted, row.unit, ratio, Text(row.verdict, style=_STYLES[row.verdict])]
