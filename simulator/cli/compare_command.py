"""``kvwall compare``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from kvwall.simulator.answers.compare import CompareAnswer, CompareRow, RefusedRow, answer_compare
from kvwall.simulator.cli.options import Json, takes_inquiry
from kvwall.simulator.cli.output import count, emit, gigabytes, milliseconds, spread, table
from kvwall.simulator.cli.step_command import Phase
from kvwall.simulator.inquiry import Inquiry, resolve
from kvwall.workloads.numbers import parse_counts

_USUAL = "none;fp8;int4;kivi:bits=4;kivi:bits=2;snapkv:budget=1024;quest:budget=2048;palu:keep=0.5"


@takes_inquiry
def command(
    inquiry: Inquiry,
    schemes: Annotated[str, typer.Option(help="stacks with ; between them")] = _USUAL,
    batch: Annotated[str, typer.Option(help="sequences: 32, a list or a range")] = "1",
    context: Annotated[str, typer.Option(help="cached tokens per sequence")] = "8k",
    phase: Annotated[Phase, typer.Option(help="decode step or prefill")] = Phase.decode,
    terms: Annotated[bool, typer.Option("--terms", help="carry the bill of each row in --json")] = False,
    json: Json = False,
) -> None:
    """The same step under several schemes: time, room, bytes, price."""
    stacks = [text.strip() for text in schemes.split(";") if text.strip()]
    batches = parse_counts(batch, "--batch", highest=1_000_000)
    contexts = parse_counts(context, "--context", example="1k..128k*2")
    answer = answer_compare(resolve(inquiry, phase.value), stacks, batches, contexts, phase.value, terms)
    emit(answer, json, render)


def render(answer: CompareAnswer, screen: Console) -> None:
    """A row per scheme and point; refused schemes below."""
    rows = [
        (
            row.scheme,
            f"{row.batch:,} x {row.context:,}",
            spread(row.step_s, milliseconds),
            milliseconds(row.ideal_step_s),
            f"{row.ratio_to_first:.2f}x",
            row.bound_by,
            "yes" if row.fits else "NO",
            gigabytes(row.kv_stored_bytes),
            gigabytes(row.kv_read_bytes),
            count(row.kv_tokens.mid),
        )
        for row in answer.rows
        if isinstance(row, CompareRow)
    ]
    columns = ("scheme", "batch x ctx", "step ms", "ideal", "speed", "bound", "fits", "KV GB", "read", "KV tokens")
    title = f"{answer.phase} of {answer.model} ({answer.weights}) on {answer.gpus} x {answer.device_name}"
    screen.print(table(title, columns, rows))
    for row in answer.rows:
        if isinstance(row, RefusedRow):
            screen.print(Text(f"{row.scheme}: refused: {row.refused}", style="yellow"))
    _quality(answer, screen)


def _quality(answer: CompareAnswer, screen: Console) -> None:
    """Published quality: for each scheme the figures of the setting nearest to the one asked for, three at most."""
    shown: set[str] = set()
    for row in answer.rows:
        if isinstance(row, RefusedRow):
            continue
        for name in dict.fromkeys(entry.scheme for entry in row.quality):
            if name in shown:
                continue
            shown.add(name)
            options = row.scheme.partition(":")[2].split(",")
            entries = [entry for entry in row.quality if entry.scheme == name]
            entries.sort(key=lambda entry: -sum(option in entry.setting for option in options if option))
            for entry in entries[:3]:
                change = f"{entry.baseline:g} -> {entry.value:g}"
                text = f"{name} ({entry.setting}) on {entry.model}: {entry.metric} {change} [{entry.source}]"
                screen.print(Text(text, style="dim"))
