"""``kvwall solve``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from kvwall.simulator.answers.solve import SolveAnswer, answer_solve
from kvwall.simulator.cli.options import Json, takes_inquiry
from kvwall.simulator.cli.output import emit, table
from kvwall.simulator.inquiry import Inquiry
from kvwall.workloads.numbers import parse_tokens


@takes_inquiry
def command(
    inquiry: Inquiry,
    unknown: Annotated[
        str,
        typer.Option(
            "--for",
            help="bandwidth, bits, context, batch, gpus, price, utilization or keep",
            show_default=False,
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            help="what must hold, e.g. tpot_ms<=50,tokens_per_s>=2000; memory always, or alone", show_default=False
        ),
    ] = None,
    between: Annotated[
        str | None, typer.Option(help="two stacks, for their break-even: fp8;kivi:bits=2", show_default=False)
    ] = None,
    batch: Annotated[str, typer.Option(help="sequences, unless solved for")] = "1",
    context: Annotated[str, typer.Option(help="cached tokens per sequence, unless solved for")] = "8k",
    json: Json = False,
) -> None:
    """The value at which targets are just met, or at which two schemes take equally long.

    Measures of a target: tpot_ms, ttft_ms, step_ms, tokens_per_s, tokens_per_s_per_user, tokens_per_s_per_gpu,
    usd_per_million_tokens, joules_per_token, kv_gib. The cache must fit besides, always.
    """
    answer = answer_solve(
        inquiry, unknown, target, between, parse_tokens(batch, "--batch"), parse_tokens(context, "--context")
    )
    emit(answer, json, render)


def render(answer: SolveAnswer, screen: Console) -> None:
    """The answer in one line, what it was checked by, and every root."""
    screen.print(Text(f"{answer.unknown} for {answer.asked}: {answer.model} on {answer.on} ({answer.scheme})", "bold"))
    if answer.answer is None:
        screen.print(Text(f"never: {answer.never_because}", style="yellow"))
    else:
        band = answer.answer_band
        spread = "" if band is None else f" ({_number(band.low)} to {_number(band.high)})"
        screen.print(f"{_number(answer.answer)}{spread} {answer.unit}, binding: {answer.binding}")
        screen.print(Text("there: " + ", ".join(f"{key} {value:.5g}" for key, value in answer.checked.items())))
    if answer.roots:
        cells = [(_number(root.value), root.met, root.binding, root.bound_by) for root in answer.roots]
        screen.print(table("every change", (answer.unit, "met", "binding", "bound by"), cells, left=0))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e12 else f"{value:.4g}"
