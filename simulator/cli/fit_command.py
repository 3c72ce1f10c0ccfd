"""``kvwall fit``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from kvwall.simulator.answers.fit import FitAnswer, answer_fit
from kvwall.simulator.cli.options import Json, takes_inquiry
from kvwall.simulator.cli.output import count, emit, gib, spread, table, three
from kvwall.simulator.inquiry import Inquiry, resolve
from kvwall.simulator.pools import one_pool
from kvwall.workloads.numbers import parse_count, parse_tokens


@takes_inquiry
def command(
    inquiry: Inquiry,
    context: Annotated[str | None, typer.Option(help="tokens per sequence", show_default=False)] = None,
    users: Annotated[str, typer.Option(help="sequences that must fit at once")] = "1",
    json: Json = False,
) -> None:
    """What fits: weights, reserve, cache, tokens and sequences per GPU."""
    one_pool(inquiry.on, "fit")
    tokens = None if context is None else parse_tokens(context, "--context")
    emit(answer_fit(resolve(inquiry), tokens, parse_count(users, "--users")), json, render)


def render(answer: FitAnswer, screen: Console) -> None:
    """The memory of one GPU from top to bottom, then what fits into its pool."""
    gpu = answer.per_gpu
    title = (
        f"{answer.model} ({answer.weights}, {answer.scheme}) on {answer.gpus} x {answer.device_name}, {answer.engine}"
    )
    usable = f"{gpu.usable_bytes / gpu.memory_bytes:.3g} of the memory"
    left = {
        "free after load": f"{answer.utilization:.3g} of what is left",
        "static fraction": "usable less weights, context",
    }.get(answer.utilization_of, "what is left")
    rows = [
        ("memory", "", gib(gpu.memory_bytes)),
        ("usable", usable, gib(gpu.usable_bytes)),
        ("weights, loaded", "", spread(gpu.weights_loaded_bytes, gib)),
        *((f"reserve: {p.name}", p.equation, spread(p.bytes, gib)) for p in gpu.reserve_parts if p.bytes.high),
        ("KV pool", left, spread(gpu.kv_bytes, gib)),
    ]
    screen.print(table(title, ("per GPU", "equation", "GiB"), rows, left=2))
    screen.print()
    capacity = [
        ("bytes per token per GPU", f"{answer.kv_bytes_per_token_per_gpu:,.0f}"),
        ("bytes per sequence per GPU", f"{answer.kv_bytes_per_sequence_per_gpu:,.0f}"),
        ("KV tokens of one replica", spread(answer.kv_tokens, count)),
        ("KV tokens of all replicas", spread(answer.kv_tokens_total, count)),
        (f"sequences of {answer.context:,} tokens per replica", spread(answer.max_concurrency, three)),
    ]
    screen.print(table("", ("capacity", ""), capacity))
    screen.print(Text(f"\n{'fits' if answer.fits else 'DOES NOT FIT'}: {answer.reason}\n", style="bold"))
