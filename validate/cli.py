"""Commands that ``validate`` adds to ``kvwall``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from kvwall.simulator.cli.options import Json
from kvwall.simulator.cli.output import emit, table
from kvwall.validate.audit import AuditAnswer, run_audit
from kvwall.validate.audit_tables import markdown, sections


def audit(
    details: Annotated[bool, typer.Option("--details", help="say the rule or the reason of every row")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="print the tables as Markdown")] = False,
    json: Json = False,
) -> None:
    """Predicted KV capacity against what real engines printed: rates, rules, pools from flags, start-up logs."""
    answer = run_audit()
    if as_markdown and not json:
        typer.echo(markdown(answer), nl=False)
        return

    def render(found: AuditAnswer, screen: Console) -> None:
        for section in sections(found, details):
            screen.print(table(section.title, section.columns, section.rows, left=section.left))
            screen.print(section.says)
            screen.print()

    emit(answer, json, render)
