"""``kvwall predict``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.predict import PredictAnswer, answer_of, predicted_table
from kvwall.simulator.cli.options import Json
from kvwall.simulator.cli.output import emit, table
from kvwall.simulator.cli.progress import progress_of
from kvwall.simulator.predicting.saving import save_table
from kvwall.simulator.predicting.table import read_table

Points = Annotated[Path, typer.Argument(metavar="POINTS.csv", help="a table, plain or .gz", show_default=False)]
Calibration = Annotated[
    str | None,
    typer.Option(help="the one calibration to use, or none for class defaults", show_default="chosen per row"),
]

#: Reasons shown below the summary.
_REASONS = 12


def command(
    points: Points,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="file to write; stdout without it")] = None,
    calibration: Calibration = None,
    json: Json = False,
) -> None:
    """Predict the time of every row of a kernel table, or TPOT and TTFT of a serving table.

    A serving table has the columns model, gpu, tp, concurrency (or batch), input_len, output_len, engine and metric
    (tpot_ms, ttft_ms); and may have weight_dtype, kv_dtype, scheme, pp, attn_dp, moe_ep, memory_utilization and
    length_ratio (mean length drawn over the one stated), as columns or as KEY=VALUE; in extra.
    """
    if output is not None and output.is_dir():
        raise InputError(f"-o {output}: is a folder, expected the name of a file")
    made = predicted_table(read_table(points), calibration, progress_of("rows predicted"))
    if output is not None:
        save_table(output, made.csv)
    if json or output is not None:
        emit(answer_of(made), json, lambda answer, screen: render(answer, screen, output))
        return
    sys.stdout.write(made.csv)


def render(answer: PredictAnswer, screen: Console, output: Path | None) -> None:
    """How many rows were predicted, by which calibration, and what is said of them."""
    screen.print(Text(f"{answer.predicted:,} of {answer.rows:,} rows predicted, written to {output}", style="bold"))
    if answer.calibrations:
        rows = [(name, f"{count:,}") for name, count in answer.calibrations.items()]
        screen.print(table("", ("calibration", "rows"), rows))
    if answer.notes:
        shown = list(answer.notes.items())[:_REASONS]
        screen.print(table("", ("note", "rows"), [(note, f"{count:,}") for note, count in shown]))
        if len(answer.notes) > _REASONS:
            screen.print(f"and {len(answer.notes) - _REASONS} more kinds of notes, in the column note")
