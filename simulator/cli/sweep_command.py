"""``kvwall sweep``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from kvwall.simulator.answers.sweep import SweepAnswer, sweep
from kvwall.simulator.cli.options import Json
from kvwall.simulator.cli.output import emit
from kvwall.simulator.cli.progress import progress_of


class Engine(StrEnum):
    """Who prices the study."""

    local = "local"
    dask = "dask"


def command(
    study: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="axes of the table", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="a folder of parts, or FILE.parquet", show_default=False)
    ],
    engine: Annotated[Engine, typer.Option(help="this process, or a Dask cluster")] = Engine.local,
    scheduler: Annotated[
        str | None, typer.Option(help="address of the cluster, tcp://HOST:PORT", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """A whole study as a table of Parquet: every combination at every batch and context.

    An interrupted sweep goes on with the same command.
    """
    answer = sweep(study, output, engine=engine.value, scheduler=scheduler, progress=progress_of("points priced"))
    emit(answer, json, render)


def render(answer: SweepAnswer, screen: Console) -> None:
    """What was written, and how fast."""
    screen.print(Text(f"{answer.points:,} points of {answer.combinations:,} combinations in {answer.output}", "bold"))
    again = f", {answer.resumed:,} of them by an earlier run" if answer.resumed else ""
    screen.print(f"{answer.seconds:,.1f} s, {answer.points_per_s / 1e6:.2f} million points a second{again}")
