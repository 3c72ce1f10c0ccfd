"""Commands that ``validate`` adds to ``kvwall``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from kvwall.simulator.cli.options import Json
from kvwall.simulator.cli.output import emit, table
from kvwall.validate.audit import AuditAnswer, run_audit
from kvwall.validate.audit_tables import PROSE, markdown, sections


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
            # Prose in a narrow column is a ladder of words: it stands below the table instead.
            columns = [i for i, name in enumerate(section.columns) if name not in PROSE]
            cells = [[row[i] for i in columns] for row in section.rows]
            screen.print(table(section.title, [section.columns[i] for i in columns], cells, left=section.left))
            screen.print(section.says)
            if len(columns) < len(section.columns):
                for row in section.rows:
                    if row[-1]:
                        screen.print(Padding(Text(f"{row[0]}: {row[-1]}", style="dim"), (0, 0, 0, 2)))
            screen.print()

    emit(answer, json, render)
