"""The command ``kvwall measure``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from kvwall.hardware.errors import InputError
from kvwall.simulator.cli.options import Json
from kvwall.simulator.cli.output import emit
from kvwall.validate.measure import MeasureAnswer
from kvwall.validate.measure import measure as run_measure

#: Failures that are printed; all of them are in the JSON document and in the folder.
_SHOWN = 8


def measure(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="folder of the points")],
    device: Annotated[str, typer.Option("--device", help="cuda or cpu")] = "cuda",
    suite: Annotated[str, typer.Option("--suite", help="quick, standard or tiny")] = "standard",
    time_limit: Annotated[
        float | None,
        typer.Option("--time-limit", metavar="SECONDS", help="start nothing after that", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="a device of the library, or the path of its data sheet", show_default="measured"),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="try again what failed before")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no line for each point")] = False,
    json: Json = False,
) -> None:
    """Run real kernels on this machine and keep their times for kvwall calibrate; goes on where it was interrupted."""
    if time_limit is not None and not time_limit > 0:
        raise InputError(f"--time-limit {time_limit:g}: expected a positive number of seconds")

    def report(line: str) -> None:
        if not quiet:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    answer = run_measure(output, device, suite, time_limit_s=time_limit, name=name or None, retry=retry, report=report)
    emit(answer, json, _render)


def _render(answer: MeasureAnswer, screen: Console) -> None:
    here = answer.environment
    screen.print(Text(f"{here.name} ({answer.gpu}), driver {here.driver}, torch {here.torch}", style="bold"))
    screen.print(Text(f"{answer.points} points in {answer.points_csv}"))
    if answer.device_yaml is not None:
        screen.print(Text(f"data sheet of this machine: {answer.device_yaml}"))
    screen.print(
        Text(
            f"{answer.measured} measured now in {answer.seconds:.0f} s, {answer.resumed} before, "
            f"{answer.remaining} left, {len(answer.failed)} failed, {answer.smaller} at a smaller shape"
        )
    )
    for reason, count in answer.left_out.items():
        screen.print(Text(f"left out: {count} cases ({reason})"))
    for flag, count in answer.flagged.items():
        screen.print(Text(f"flagged: {count} points {flag}, left out of fits"))
    for failure in answer.failed[:_SHOWN]:
        screen.print(Text(f"failed: {failure.case}: {failure.why}", style="yellow"))
    if answer.points:
        screen.print(Text(f"next: kvwall calibrate {answer.folder} -o {Path(answer.folder).name}.yaml", style="dim"))
