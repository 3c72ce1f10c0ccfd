"""``kvwall need``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from kvwall.simulator.answers.need import NeedAnswer, need
from kvwall.simulator.cli.options import Json, Model
from kvwall.simulator.cli.output import count, emit, table, three
from kvwall.workloads.numbers import parse_count, parse_tokens

#: Machines that a table shows.
_MOST_MACHINES = 15


def command(
    model: Model,
    context: Annotated[str, typer.Option(help="tokens per user")] = "8k",
    users: Annotated[str, typer.Option(help="users, one sequence each")] = "1",
    weights: Annotated[str | None, typer.Option(help="weight format", show_default=False)] = None,
    scheme: Annotated[str, typer.Option(help="stack of schemes")] = "none",
    kv_dtype: Annotated[str | None, typer.Option(help="sugar for the scheme of that name", show_default=False)] = None,
    engine: Annotated[str, typer.Option(help="engine of the machines that would hold it")] = "vllm",
    json: Json = False,
) -> None:
    """The memory that a model and its users need, and which machines would hold it."""
    answer = need(
        model,
        context=parse_tokens(context, "--context"),
        users=parse_count(users, "--users"),
        weights=weights,
        scheme=scheme,
        kv_dtype=kv_dtype,
        engine=engine,
    )
    emit(answer, json, render)


def render(answer: NeedAnswer, screen: Console) -> None:
    """Amounts, then machines."""
    users = f"{answer.users} x {answer.context:,} tokens"
    rows = [
        ("weights", answer.weights_bytes.bytes / 1e9, answer.weights_bytes.gib),
        ("KV of one user", answer.kv_bytes_per_user.bytes / 1e9, answer.kv_bytes_per_user.gib),
        ("KV of all users", answer.kv_bytes_total.bytes / 1e9, answer.kv_bytes_total.gib),
        ("together", answer.total.bytes / 1e9, answer.total.gib),
    ]
    title = f"{answer.model} ({answer.weights}, {answer.scheme}), {users}"
    screen.print(table(title, ("", "GB", "GiB"), [(name, f"{gb:,.2f}", f"{gi:,.2f}") for name, gb, gi in rows]))
    screen.print(f"one more token of one user: {answer.kv_bytes_per_token:,.0f} bytes\n")
    if not answer.holders:
        screen.print("no machine of up to eight known devices holds this")
        return
    machines = [
        (
            f"{h.gpus} x {h.device}",
            count(h.kv_tokens),
            three(h.max_concurrency),
            "-" if h.usd_per_hour is None else three(h.usd_per_hour),
        )
        for h in answer.holders[:_MOST_MACHINES]
    ]
    columns = ("would hold it", "KV tokens", "users at once", "$/h")
    screen.print(table("smallest machines, cheapest first", columns, machines))
    more = len(answer.holders) - _MOST_MACHINES
    if more > 0:
        screen.print(f"and {more} more (--json)")
