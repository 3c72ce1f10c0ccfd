"""``kvwall plan``."""

from __future__ import annotations

import sys
import time
from dataclasses import fields
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from kvwall.simulator.answers.plan import TOP, PlanAnswer, answer_plan
from kvwall.simulator.answers.plan_rows import Candidate
from kvwall.simulator.cli.options import Json, takes_inquiry
from kvwall.simulator.cli.output import emit, milliseconds, table, three
from kvwall.simulator.cli.plan_lines import loser_lines, pick_lines, split
from kvwall.simulator.cli.plan_sketch import sketch
from kvwall.simulator.inquiry import Inquiry
from kvwall.simulator.planning.asking import Asked, ask
from kvwall.simulator.planning.load import counted
from kvwall.simulator.planning.make import Progress, make_plan
from kvwall.workloads.numbers import parse_count, parse_counts, parse_tokens

#: A plan that takes longer than this shows its progress.
_PATIENCE_S = 2.0
#: Points of a Pareto front that are worth a drawing.
_FRONT = 6


class Objective(StrEnum):
    """What the best candidate is best in."""

    cost = "cost"
    throughput = "throughput"
    latency = "latency"


def _plan(
    inquiry: Inquiry,
    context: typer.Context,
    input: Annotated[str | None, typer.Option(help="prompt tokens of a request", show_default=False)] = None,
    output: Annotated[str | None, typer.Option(help="generated tokens of a request", show_default=False)] = None,
    users: Annotated[str | None, typer.Option(help="concurrent users; as many as fit", show_default=False)] = None,
    ttft_ms: Annotated[float | None, typer.Option(help="largest time to first token", show_default=False)] = None,
    tpot_ms: Annotated[float | None, typer.Option(help="largest time per output token", show_default=False)] = None,
    max_quality_loss: Annotated[
        str | None, typer.Option(help="METRIC=VALUE: largest published loss, e.g. LongBench=1", show_default=False)
    ] = None,
    objective: Annotated[Objective | None, typer.Option(help="what to rank by", show_default=False)] = None,
    schemes: Annotated[
        str | None, typer.Option(help='stacks to try: "none;fp8;kivi:bits=2"', show_default=False)
    ] = None,
    batch: Annotated[
        str | None, typer.Option(help="batches to try: 32, 1,8,64 or 1..256*2", show_default=False)
    ] = None,
    budget_usd_per_hour: Annotated[float | None, typer.Option(help="largest rent", show_default=False)] = None,
    top: Annotated[int, typer.Option(min=1, help="candidates to list")] = TOP,
    json: Json = False,
) -> None:
    """Choose split, weight format, scheme and batch for a workload; MODEL may be a scenario or left out."""
    given = {field.name: getattr(inquiry, field.name) for field in fields(Inquiry) if _was_given(context, field.name)}
    asked = Asked(
        subject=given.pop("model", None),
        on=given.pop("on", None),
        input_tokens=None if input is None else parse_tokens(input, "--input"),
        output_tokens=None if output is None else parse_tokens(output, "--output"),
        users=None if users is None else parse_count(users, "--users"),
        ttft_ms=ttft_ms,
        tpot_ms=tpot_ms,
        max_quality_loss=max_quality_loss,
        objective=None if objective is None else objective.value,
        schemes=schemes,
        batches=None if batch is None else parse_counts(batch, "--batch"),
        budget_usd_per_hour=budget_usd_per_hour,
        options=given,
    )
    made = make_plan(ask(asked), _progress())
    emit(answer_plan(made, top), json, lambda answer, screen: render(answer, screen, top))


command = takes_inquiry(_plan, told_elsewhere=True)


def _was_given(context: typer.Context, name: str) -> bool:
    """Whether an option was typed: only then does it stand over what a scenario says."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _progress() -> Progress:
    """Progress on stderr, once a plan has tried the patience of a person at a terminal."""
    start = time.monotonic()

    def show(done: int, count: int) -> None:
        if sys.stderr.isatty() and time.monotonic() - start > _PATIENCE_S:
            end = "\r" if done < count else "\r\x1b[K"
            sys.stderr.write(f"\rpriced {done} of {count} combinations{end}")
            sys.stderr.flush()

    return show


def render(answer: PlanAnswer, screen: Console, top: int = TOP) -> None:
    """The ranked table, the arithmetic of the pick, what lost and by how much, and the flags to copy."""
    title = f"{answer.model} on {answer.gpus} x {answer.device_name}, {answer.engine}: {answer.load}"
    screen.print(Text(title, style="bold"))
    tried = "" if answer.candidates else f"{counted(answer.combination_count, 'combination')}, "
    screen.print(Text(f"{_targets(answer)}; {tried}{answer.reason}"))
    if answer.candidates:
        screen.print()
        shown = [candidate for candidate in answer.candidates if candidate.rank <= top]
        screen.print(_ranking(shown))
        front = [candidate for candidate in answer.candidates if candidate.pareto]
        if len(front) >= _FRONT:
            screen.print(Text(sketch(front), no_wrap=True))
        for line in pick_lines(answer):
            screen.print(Text(line))
    for line in loser_lines(answer):
        screen.print(Text(line))
    for head, flags in _commands(answer):
        screen.print(Text(head))
        screen.print(Text(f"  {flags}"), soft_wrap=True)


def _commands(answer: PlanAnswer) -> list[tuple[str, str]]:
    """What starts the pick; where the engine cannot run it, first what starts the best that it can."""
    if not answer.candidates:
        return []
    pick = answer.candidates[0]
    offered = next((candidate for candidate in answer.candidates if candidate.offered), None)
    if pick.offered or offered is None:
        return [("start it with:", pick.engine_flags)]
    return [
        (f"start rank {offered.rank}, the best that {answer.engine} offers, with:", offered.engine_flags),
        (f"rank 1 would need {pick.scheme} in the engine:", pick.engine_flags),
    ]


def _targets(answer: PlanAnswer) -> str:
    limits = []
    if answer.ttft_target_s is not None:
        limits.append(f"TTFT <= {answer.ttft_target_s:g} s")
    if answer.tpot_target_s is not None:
        limits.append(f"TPOT <= {answer.tpot_target_s * 1e3:g} ms")
    return f"best by {answer.objective}{', ' if limits else ''}{', '.join(limits)}"


def _ranking(candidates: list[Candidate]) -> Any:
    rows = [
        (
            f"{c.rank}{'*' if c.pareto else ''}",
            c.scheme if c.offered else f"{c.scheme} ¹",
            c.weights,
            split(c),
            f"{c.batch:,}",
            three(c.ttft_s.mid),
            f"{milliseconds(c.tpot_s.mid)} ({_short(c.tpot_s.low)}-{_short(c.tpot_s.high)})",
            three(c.tokens_per_s.mid),
            "-" if c.usd_per_million_tokens is None else three(c.usd_per_million_tokens),
            _ties(c),
        )
        for c in candidates
    ]
    columns = ("", "scheme", "weights", "split", "batch", "TTFT s", "TPOT ms", "tok/s", "$/M", "tied with")
    legend = "* on the Pareto front"
    if any(not c.offered for c in candidates):
        legend += "   ¹ the engine has no flag for it"
    made = table("", columns, rows, left=4)
    made.renderables.append(Text(legend, style="dim"))
    return made


def _short(seconds: float) -> str:
    """Milliseconds with two digits: enough for the end of a band."""
    return f"{seconds * 1e3:.0f}" if seconds >= 0.01 else f"{seconds * 1e3:.1f}"


def _ties(candidate: Candidate) -> str:
    """Ranks as a short list: runs of neighbours as ``2-5``."""
    runs: list[list[int]] = []
    for rank in candidate.tied_with:
        if runs and rank == runs[-1][-1] + 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    told = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ",".join(told[:3]) + ("..." if len(told) > 3 else "")
