"""``kvwall compare``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.compare import CompareAnswer, CompareRow, RefusedRow, answer_compare
from kvwall.simulator.cli.options import Json, takes_inquiry
from kvwall.simulator.cli.output import count, emit, gigabytes, milliseconds, spread, table
from kvwall.simulator.cli.step_command import Phase
from kvwall.simulator.inquiry import Inquiry, resolve
from kvwall.workloads.numbers import parse_counts

#: Characters of a scheme that a line of the table has room for.
_LONGEST_NAME = 24

#: Published figures that a table shows of one scheme.
_MOST_FIGURES = 3

_USUAL = "none;fp8;int4;kivi:bits=4;kivi:bits=2;snapkv:budget=1024;quest:budget=2048;palu:keep=0.5"


@takes_inquiry
def command(
    inquiry: Inquiry,
    schemes: Annotated[str, typer.Option(help="stacks with ; between them, or all: each at its defaults")] = _USUAL,
    batch: Annotated[str, typer.Option(help="sequences: 32, a list or a range")] = "1",
    context: Annotated[str, typer.Option(help="cached tokens per sequence")] = "8k",
    phase: Annotated[Phase, typer.Option(help="decode step or prefill")] = Phase.decode,
    terms: Annotated[bool, typer.Option("--terms", help="carry the bill of each row in --json")] = False,
    json: Json = False,
) -> None:
    """The same step under several schemes: time, room, bytes, price."""
    if inquiry.scheme != "none" or inquiry.kv_dtype is not None:
        given = f"--scheme {inquiry.scheme}" if inquiry.kv_dtype is None else f"--kv-dtype {inquiry.kv_dtype}"
        raise InputError(f"{given}: compare takes its stacks from --schemes, as in --schemes 'none;fp8'")
    stacks = [text.strip() for text in schemes.split(";") if text.strip()]
    batches = parse_counts(batch, "--batch", highest=1_000_000)
    contexts = parse_counts(context, "--context", example="1k..128k*2")
    answer = answer_compare(resolve(inquiry, phase.value), stacks, batches, contexts, phase.value, terms)
    emit(answer, json, render)


def render(answer: CompareAnswer, screen: Console) -> None:
    """A table per point with a row per scheme; refused schemes below, then what is published of their quality."""
    screen.print(
        Text(f"{answer.phase} of {answer.model} ({answer.weights}) on {answer.gpus} x {answer.device_name}", "bold")
    )
    priced = [row for row in answer.rows if isinstance(row, CompareRow)]
    for batch, context in dict.fromkeys((row.batch, row.context) for row in priced):
        cells = [_cells(row) for row in priced if (row.batch, row.context) == (batch, context)]
        screen.print(table(f"{batch:,} x {context:,} tokens", _COLUMNS, cells, whole=7))
        screen.print()
    _marks(priced, screen)
    for row in answer.rows:
        if isinstance(row, RefusedRow):
            screen.print(Text(f"{row.scheme}: refused: {row.refused}", style="yellow"))
    _quality(priced, screen)


_COLUMNS = ("scheme", "step ms", "speed", "fits", "KV GB", "read GB", "KV tokens", "bound by")

#: Marks of what a row's attention is known from, shown where rows differ or nothing is fitted.
_MARKS = {"fitted": "", "borrowed": "'", "carried over": "~", "class default": "?"}
_TOLD = {
    "'": "attention by a fit lent from another device or framework",
    "~": "attention carried over from a fitted kernel of plain work",
    "?": "attention by class defaults, not a fit",
    "*": "a stack that nobody published together: computed, not measured",
}


def _mark(row: CompareRow) -> str:
    return _MARKS[row.attention_from] + ("*" if row.unmeasured else "")


def _marks(rows: Sequence[CompareRow], screen: Console) -> None:
    """What the marks mean that stand in the tables above."""
    used = {mark for row in rows for mark in _mark(row)}
    for mark, meaning in _TOLD.items():
        if mark in used:
            screen.print(Text(f"{mark} {meaning}", style="dim"))


def _cells(row: CompareRow) -> tuple[str, ...]:
    return (
        _folded(row.scheme),
        spread(row.step_s, milliseconds),
        f"{row.ratio_to_first:.2f}x{_mark(row)}",
        "yes" if row.fits else "NO",
        gigabytes(row.kv_stored_bytes),
        gigabytes(row.kv_read_bytes),
        count(row.kv_tokens.mid),
        row.bound_by,
    )


def _folded(scheme: str) -> str:
    """A long stack on several lines, a scheme on each, so that the numbers beside it keep their room."""
    if len(scheme) <= _LONGEST_NAME:
        return scheme
    parts = scheme.replace("+", "\n+").split("\n")
    return "\n".join(part if len(part) <= _LONGEST_NAME else part.replace(",", ",\n ") for part in parts)


def _quality(rows: Sequence[CompareRow], screen: Console) -> None:
    """Published quality of the schemes shown, three figures a scheme at most."""
    entries = {row.scheme: row.quality[:_MOST_FIGURES] for row in rows if row.quality}
    figures = dict.fromkeys(entry for found in entries.values() for entry in found)
    if figures:
        screen.print(Text("published quality, each scheme by itself (never interpolated)", style="bold"))
    for entry in figures:
        screen.print(Text(f"{entry.scheme} ({entry.setting}): {entry.metric} {entry.baseline:g} -> {entry.value:g}"))
        source = Text(f"{entry.model} [{entry.source}]", style="dim")
        screen.print(Padding(source, (0, 0, 0, 4), expand=False))
