"""Commands that ``validate`` adds to ``kvwall``."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.predict import is_serving
from kvwall.simulator.cli.options import Json
from kvwall.simulator.cli.output import emit, table
from kvwall.simulator.cli.progress import progress_of
from kvwall.simulator.predicting.table import read_table
from kvwall.validate.audit import AuditAnswer, run_audit
from kvwall.validate.audit_tables import PROSE, markdown, sections
from kvwall.validate.calibrate import CalibrateAnswer, FittedRow, calibrate_points
from kvwall.validate.calibration_documents import calibrations, unheard_of, write
from kvwall.validate.point_table import point_table, read_points
from kvwall.validate.serving_calibrate import calibrate_serving
from kvwall.validate.serving_calibrate import render as render_serving


def audit(
    details: Annotated[bool, typer.Option("--details", help="say the rule or the reason of every row")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="print the tables as Markdown")] = False,
    json: Json = False,
) -> None:
    """Predicted KV capacity against what real engines printed: rates, rules, pools from flags, start-up logs."""
    answer = run_audit()
    if as_markdown and not json:
        typer.echo(markdown(answer), nl=False)
        return

    def render(found: AuditAnswer, screen: Console) -> None:
        for section in sections(found, details):
            # Prose in a narrow column is a ladder of words: it stands below the table instead.
            columns = [i for i, name in enumerate(section.columns) if name not in PROSE]
            cells = [[row[i] for i in columns] for row in section.rows]
            screen.print(table(section.title, [section.columns[i] for i in columns], cells, left=section.left))
            screen.print(section.says)
            if len(columns) < len(section.columns):
                for row in section.rows:
                    if row[-1]:
                        screen.print(Padding(Text(f"{row[0]}: {row[-1]}", style="dim"), (0, 0, 0, 2)))
            screen.print()

    emit(answer, json, render)


def calibrate(
    points: Annotated[Path, typer.Argument(metavar="POINTS.csv|DIR", help="measured kernels", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="NAME.yaml to write", show_default=False)],
    json: Json = False,
) -> None:
    """Fit kernel models, or from a serving table an engine's host time, and tell the error on what no fit has seen."""
    if output.suffix not in (".yaml", ".yml"):
        raise InputError(f"-o {output}: a calibration ends in .yaml")
    if output.is_dir() or not output.parent.is_dir():
        raise InputError(f"-o {output}: {'is a folder' if output.is_dir() else 'its folder does not exist'}")
    if points.is_file() and is_serving(serving := read_table(points)):
        emit(calibrate_serving(serving, output, date.today().isoformat()), json, render_serving)
        return
    found = point_table(read_points(points))
    made = calibrate_points(found, date.today().isoformat(), progress_of("kernel models fitted"))
    written = write(calibrations(made, output, f"fitted to {points.name}"))
    answer = CalibrateAnswer(
        table=found.where,
        rows=found.rows,
        used=sum(one.document.n for one in made),
        left_out=found.left_out,
        fits=tuple(one.row for one in made),
        written=written,
        warnings=unheard_of(made),
        assumptions=("errors are on shapes that the fit has not seen: five folds by shape",),
    )
    emit(answer, json, _render_fits)


def _render_fits(answer: CalibrateAnswer, screen: Console) -> None:
    screen.print(Text(f"{answer.used:,} of {answer.rows:,} rows of {answer.table} fitted", style="bold"))
    columns = ("kernel model", "device", "framework", "n", "fitted %", "median %", "p90 %", "bias %")
    screen.print(table("", columns, [_fit_cells(fit) for fit in answer.fits], left=3))
    for fit in answer.fits:
        told = [fit.note, f"at a bound: {', '.join(fit.at_bound)}" if fit.at_bound else ""]
        if any(told):
            screen.print(Padding(Text(f"{fit.family}: {'; '.join(filter(None, told))}", style="dim"), (0, 0, 0, 2)))
    if answer.left_out:
        screen.print(table("", ("left out because", "rows"), [(w, f"{n:,}") for w, n in answer.left_out.items()]))
    for path in answer.written:
        screen.print(f"written: {path}")


def _fit_cells(fit: FittedRow) -> list[str]:
    unseen = ["-" if value is None else f"{value * 100:.1f}" for value in (fit.median, fit.p90, fit.bias)]
    return [fit.family, fit.device, fit.framework, f"{fit.n:,}", f"{fit.in_sample_median * 100:.1f}", *unseen]
