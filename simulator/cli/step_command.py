"""``kvwall step``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.step import StepAnswer, StepPoint, answer_ragged, answer_step
from kvwall.simulator.cli.options import Json, takes_inquiry
from kvwall.simulator.cli.output import emit, gigabytes, milliseconds, spread, table, three
from kvwall.simulator.inquiry import Inquiry, resolve
from kvwall.workloads.numbers import parse_counts, parse_ragged, parse_tokens


class Phase(StrEnum):
    """What a step does."""

    decode = "decode"
    prefill = "prefill"


class CacheState(StrEnum):
    """Whether the device's own cache holds data of the step before."""

    cold = "cold"
    warm = "warm"


@takes_inquiry
def command(
    inquiry: Inquiry,
    batch: Annotated[str, typer.Option(help="sequences: 32, a list 1,8,64 or a range 1..256*2")] = "1",
    context: Annotated[str, typer.Option(help="cached tokens per sequence: 8k, a list or a range")] = "8k",
    phase: Annotated[Phase, typer.Option(help="decode step or prefill")] = Phase.decode,
    query_tokens: Annotated[str | None, typer.Option(help="new tokens per sequence", show_default=False)] = None,
    contexts: Annotated[
        str | None, typer.Option(help="ragged batch: 8k*30,128k*2, or a file of such", show_default=False)
    ] = None,
    cache: Annotated[CacheState, typer.Option(help="state of the device's cache")] = CacheState.cold,
    json: Json = False,
) -> None:
    """How long one step takes, what it moves, and what it costs.

    A point that does not fit is priced all the same, with exit status 0: its row says NO, and a warning says why and
    what would fit.
    """
    batches = parse_counts(batch, "--batch", highest=1_000_000)
    lengths = parse_counts(context, "--context", example="1k..128k*2")
    query = None if query_tokens is None else parse_tokens(query_tokens, "--query-tokens")
    resolved = resolve(inquiry, phase.value)
    if contexts is not None and phase is Phase.prefill:
        raise InputError("--contexts: a ragged batch is for decode (price prefills one by one)")
    if contexts is not None:
        answer = answer_ragged(resolved, parse_ragged(contexts), query)
    else:
        answer = answer_step(resolved, batches, lengths, phase.value, query)
    if cache is CacheState.warm:
        note = "class defaults know no warm cache: priced as cold"
        answer = answer.model_copy(update={"assumptions": (*answer.assumptions, note)})
    emit(answer, json, render)


def render(answer: StepAnswer, screen: Console) -> None:
    """A row per point; a prefill counts prompt tokens, a decode step generated ones."""
    prefill = answer.phase == "prefill"
    rates = ("prompt tok/s", "$/M input", "J/input") if prefill else ("tokens/s", "$/M tok", "J/tok")
    columns = ("batch", "context", "step ms", "ideal", rates[0], "bound by", "fits", "KV GB", *rates[1:])
    title = (
        f"{answer.phase} of {answer.model} ({answer.weights}, {answer.scheme}) on {answer.gpus} x {answer.device_name}"
    )
    screen.print(table(title, columns, [_cells(point, prefill) for point in answer.points], left=0))


def _cells(point: StepPoint, prefill: bool) -> tuple[str, ...]:
    tokens = point.query_tokens if prefill else 1
    dollars = point.usd_per_million_input_tokens if prefill else point.usd_per_million_tokens
    return (
        f"{point.batch:,}",
        f"{point.context:,}",
        spread(point.step_s, milliseconds),
        milliseconds(point.ideal_step_s),
        three(point.tokens_per_s.mid * tokens),
        point.bound_by,
        "yes" if point.fits else "NO",
        gigabytes(point.kv_stored_bytes),
        "-" if dollars is None else three(dollars),
        three(point.joules_per_token / tokens),
    )
