"""How answers reach people: one JSON document, or tables that read well at 100 columns."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.base import Answer, Range

A = TypeVar("A", bound=Answer)

_GIB = 2.0**30
#: Width when the output is no terminal.
_WIDTH = 100


class _Console(Console):
    """A console that lets the command line decide what a closed pipe means; rich alone would exit with 1, a no."""

    def on_broken_pipe(self) -> None:
        """Hand the error on."""
        self.quiet = True
        raise BrokenPipeError


def console() -> Console:
    """The console on stdout; a pipe gets 100 columns."""
    return _Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False, soft_wrap=False)


def emit(answer: A, as_json: bool, render: Callable[[A, Console], None]) -> None:
    """Print ``answer`` and leave with 1 if it is a no."""
    if as_json:
        sys.stdout.write(answer.model_dump_json(indent=2) + "\n")
    else:
        screen = console()
        render(answer, screen)
        footnotes(answer, screen)
    if answer.says_no is not None:
        if not as_json:
            sys.stdout.flush()
            sys.stderr.write(f"kvwall: no: {answer.says_no}\n")
        raise typer.Exit(1)


def save(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, all of it or nothing: an interrupted command leaves no half file.

    :raises InputError: the folder is missing or cannot be written to, or ``path`` is a folder
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected the name of a file")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def footnotes(answer: Answer, screen: Console) -> None:
    """Warnings and assumptions below a table."""
    for warning in answer.warnings:
        screen.print(Text(f"warning: {warning}", style="yellow"))
    for assumption in answer.assumptions:
        screen.print(Text(f"  {assumption}", style="dim"))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, left: int = 1, whole: int = 0) -> Group:
    """A titled table: the first ``left`` columns are text, the others numbers; the first ``whole`` never fold."""
    made = Table(header_style="bold", box=None, pad_edge=False)
    for position, column in enumerate(columns):
        justify: Literal["left", "right"] = "left" if position < left else "right"
        made.add_column(column, justify=justify, overflow="fold", no_wrap=position < whole)
    for row in rows:
        # As text, not as markup, which would swallow the brackets of kvwall[gpu].
        made.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return Group(Text(title, style="bold"), made) if title else Group(made)


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds with three significant digits."""
    return three(seconds * 1e3)


def three(value: float) -> str:
    """A number with three significant digits and no exponent where that reads well."""
    if value == 0:
        return "0"
    if abs(value) >= 1e15:
        return "unbounded"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 1e-3:
        return f"{value:.2e}"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits if abs(value) >= 0.1 else 4}f}"


def gib(amount: float) -> str:
    """Bytes in GiB."""
    return f"{amount / _GIB:,.2f}"


def gigabytes(amount: float) -> str:
    """Bytes in GB."""
    return f"{amount / 1e9:,.2f}" if amount else "0"


def spread(value: Range, show: Callable[[float], str]) -> str:
    """``mid (low-high)``."""
    if value.low == value.high:
        return show(value.mid)
    return f"{show(value.mid)} ({show(value.low)}-{show(value.high)})"


def count(value: float) -> str:
    """A whole number with separators."""
    return "unbounded" if value >= 1e15 else f"{int(value):,}"
