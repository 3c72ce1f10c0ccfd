"""``kvwall reconcile``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kvwall.simulator.answers.base import Range
from kvwall.simulator.answers.reconcile import ReconcileAnswer, ReconcileLine, answer_reconcile
from kvwall.simulator.cli.options import Json, takes_inquiry
from kvwall.simulator.cli.output import emit, three
from kvwall.simulator.engine_logs import read_engine_log
from kvwall.simulator.inquiry import Inquiry

LogFile = Annotated[Path, typer.Argument(metavar="LOGFILE", help="start-up log of an engine", show_default=False)]
_COLOURS = {"agrees": "green", "within band": "green", "differs": "yellow", "impossible": "red"}
_BASES = {"flags": "from the flags alone", "log": "given what the log states", "physics": "what cannot be"}


@partial(takes_inquiry, told_elsewhere=True)
def command(inquiry: Inquiry, log: LogFile, json: Json = False) -> None:
    """Read an engine's start-up log and explain predicted against actual, line by line."""
    emit(answer_reconcile(read_engine_log(log), inquiry), json, render)


def render(answer: ReconcileAnswer, screen: Console) -> None:
    """A table of each pass; the cause stands below its line."""
    engine = f"{answer.engine} {answer.engine_version or ''}".strip()
    screen.print(Text(f"{answer.log}: {engine}, {answer.model} ({answer.weights}, {answer.scheme})", style="bold"))
    screen.print(f"on {answer.gpus} x {answer.device_name}, profile {answer.engine_profile}")
    for basis, title in _BASES.items():
        lines = [line for line in answer.lines if line.basis == basis]
        if lines:
            screen.print()
            screen.print(_table(title, lines))
    screen.print()
    screen.print(", ".join(f"{count} {verdict}" for verdict, count in answer.verdicts.items()) or "nothing to compare")


def _table(title: str, lines: list[ReconcileLine]) -> Table:
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column, width, justify in (("line", 17, "left"), ("engine", 12, "right"), ("kvwall", 22, "right")):
        made.add_column(column, width=width, justify=justify, overflow="fold")  # type: ignore[arg-type]
    made.add_column("verdict", width=11)
    made.add_column("why", overflow="fold")
    for line in lines:
        verdict = Text(line.verdict, style=_COLOURS.get(line.verdict, ""))
        made.add_row(
            line.what, f"{_show(line.engine, line.unit)} {_unit(line.unit)}".strip(), _told(line), verdict, line.why
        )
    return made


def _told(line: ReconcileLine) -> str:
    if line.kvwall is None:
        return "-"
    if isinstance(line.kvwall, Range):
        low, mid, high = (_show(x, line.unit) for x in (line.kvwall.low, line.kvwall.mid, line.kvwall.high))
        return f"{mid} ({low} to {high})" if low != high else mid
    return _show(line.kvwall, line.unit)


def _show(value: float, unit: str) -> str:
    if unit in {"tokens", "blocks", "count"}:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 0.005 or value == 0 else three(value)


def _unit(unit: str) -> str:
    return {"GiB": "GiB", "requests": "x"}.get(unit, "")
