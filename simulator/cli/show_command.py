"""``kvwall show``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from kvwall.simulator.answers.show import ShowAnswer, show
from kvwall.simulator.cli.document_view import print_document
from kvwall.simulator.cli.options import Json
from kvwall.simulator.cli.output import emit, table


def command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="device, model, scheme, ...", show_default=False)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="a name, an alias or a path", show_default=False)],
    json: Json = False,
) -> None:
    """Everything that is known of one device, model, scheme, format, engine, node, scenario or calibration."""
    emit(show(kind, name), json, render)


def render(answer: ShowAnswer, screen: Console) -> None:
    """The document, block by block, then what follows from it."""
    screen.print(Text(f"{answer.kind} {answer.name}", style="bold"))
    document = answer.document
    if answer.kind == "scheme":
        _print_options(document["options"], screen)
        document = {key: value for key, value in document.items() if key not in {"name", "options"}}
    print_document(document, screen)
    if answer.derived:
        print_document({"derived": answer.derived}, screen)


def _print_options(options: list[dict[str, Any]], screen: Console) -> None:
    if options:
        rows = [(o["name"], _default(o["default"]), o["allowed"], o["description"]) for o in options]
        used = 4 if any(row[3] for row in rows) else 3
        columns = ("option", "default", "allowed", "what")[:used]
        screen.print(table("", columns, [row[:used] for row in rows], left=used, whole=1))


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "unset" if value is None else str(value)
