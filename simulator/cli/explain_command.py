"""``kvwall explain``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from kvwall.simulator.answers.explain import ExplainAnswer, ExplainedTerm, answer_explain
from kvwall.simulator.cli.options import Json, takes_inquiry
from kvwall.simulator.cli.output import emit, gib, milliseconds, spread, table, three
from kvwall.simulator.cli.step_command import Phase
from kvwall.simulator.inquiry import Inquiry, resolve
from kvwall.workloads.numbers import parse_count, parse_tokens

#: Terms below this share of the step are summed into one line unless all are asked for.
_SMALL = 0.002


@takes_inquiry
def command(
    inquiry: Inquiry,
    batch: Annotated[str, typer.Option(help="sequences of the whole deployment")] = "1",
    context: Annotated[str, typer.Option(help="cached tokens per sequence")] = "8k",
    phase: Annotated[Phase, typer.Option(help="decode step or prefill")] = Phase.decode,
    all_terms: Annotated[bool, typer.Option("--all", help="also terms below 0.2 % of the step")] = False,
    json: Json = False,
) -> None:
    """Every term of a step with its equation, the numbers in it, seconds, share and reference."""
    resolved = resolve(inquiry, phase.value)
    answer = answer_explain(resolved, parse_count(batch, "--batch"), parse_tokens(context, "--context"), phase.value)
    emit(answer, json, lambda shown, screen: render(shown, screen, all_terms))


def render(answer: ExplainAnswer, screen: Console, all_terms: bool = False) -> None:
    """The bill, then where the bytes are."""
    screen.print(
        Text(f"{answer.phase} of {answer.model} ({answer.weights}, {answer.scheme}) on {answer.gpus} x "
             f"{answer.device_name}\n{answer.batch:,} x {answer.context:,} tokens", style="bold")
    )  # fmt: skip
    screen.print(
        f"step {spread(answer.step_s, milliseconds)} ms, ideal {milliseconds(answer.ideal_step_s)} ms, "
        f"bound by {answer.bound_by}, {'fits' if answer.fits else 'DOES NOT FIT'}\n"
    )
    shown = [t for t in answer.terms if all_terms or t.share >= _SMALL]
    for line in shown:
        _print_term(line, screen)
    rest = [t for t in answer.terms if t not in shown]
    if rest:
        screen.print(f"{_share(answer, rest)}  {len(rest)} smaller or hidden terms (--all)")
    screen.print(f"{_share(answer, answer.terms)}  sum of the charged seconds = the step\n")
    _print_memory(answer, screen)


def _share(answer: ExplainAnswer, terms: Sequence[ExplainedTerm]) -> str:
    charged = sum(line.charged_s for line in terms)
    return f"{milliseconds(charged):>8} ms {charged / answer.step_s.mid:6.1%}"


def _print_term(line: ExplainedTerm, screen: Console) -> None:
    head = f"{milliseconds(line.charged_s):>8} ms {line.share:6.1%}  {line.operator}: {line.name} [{line.resource}]"
    screen.print(Text(head))
    amount = f"{three(line.per_rank_amount)} {line.unit} a rank"
    detail = f"{line.equation} = {line.substituted} = {amount}; alone {milliseconds(line.alone_s)} ms"
    if not line.substituted or line.substituted == line.equation:
        detail = line.equation
    screen.print(Padding(Text(detail, style="cyan"), (0, 0, 0, 20), expand=False))
    screen.print(Padding(Text(line.reference, style="dim"), (0, 0, 0, 20), expand=False))


def _print_memory(answer: ExplainAnswer, screen: Console) -> None:
    cache = answer.cache
    screen.print(
        f"cache: logical {gib(cache.logical_bytes)} GiB; on the devices {gib(cache.physical_bytes)} GiB in whole "
        f"blocks, {gib(cache.peak_bytes)} GiB at most\n       ({cache.why})\n"
    )
    rows = [
        (level.level, gib(level.moved_bytes), gib(level.compulsory_bytes), f"{level.ratio:.3f}" if level.ratio else "-")
        for level in answer.levels
    ]
    screen.print(table("bytes per level", ("level", "moved GiB", "compulsory GiB", "moved / compulsory"), rows))
    screen.print()
    for fusion in answer.fusion:
        screen.print(Text(f"{'fused' if fusion.fused else 'not fused'}: {fusion.operator}: {fusion.why}"))
    _print_io(answer, screen)


def _print_io(answer: ExplainAnswer, screen: Console) -> None:
    """Attention against its lower bounds, and what its kernel holds on chip."""
    screen.print()
    rows = [
        (f"{row.layers:g} x {row.operator}", row.level, gib(row.moved_bytes), gib(row.compulsory_bytes),
         gib(row.bound_bytes), f"{row.ratio:.3f}", "proved" if row.bound_bytes > row.compulsory_bytes else "compulsory")
        for row in answer.io.levels
    ]  # fmt: skip
    columns = ("kernel", "between", "moved GiB", "compulsory GiB", "lower bound GiB", "moved / bound", "bound")
    screen.print(table("I/O of attention", columns, rows))
    for kernel in answer.io.fusion:
        bytes_ = f"{gib(kernel.fused_bytes)} GiB fused, {gib(kernel.separate_bytes)} with a copy first"
        screen.print(Text(f"{kernel.operator}: {kernel.why} ({bytes_}, {gib(kernel.unfused_bytes)} unfused)"))
