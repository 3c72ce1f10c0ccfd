"""``kvwall show``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from kvwall.simulator.answers.show import ShowAnswer, show
from kvwall.simulator.cli.document_view import inline, print_document, scalar
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
    fits = document.get("fits", []) if answer.kind == "calibration" else []
    print_document({key: value for key, value in document.items() if key != "fits"} if fits else document, screen)
    for fit in fits:
        _print_fit(fit, screen)
    if answer.derived:
        print_document({"derived": answer.derived}, screen)


def _print_options(options: list[dict[str, Any]], screen: Console) -> None:
    if options:
        rows = [(o["name"], _default(o["default"]), o["allowed"], o["description"]) for o in options]
        used = 4 if any(row[3] for row in rows) else 3
        columns = ("option", "default", "allowed", "what")[:used]
        screen.print(table("", columns, [row[:used] for row in rows], left=used, whole=1))


def _print_fit(fit: dict[str, Any], screen: Console) -> None:
    """A kernel family: its parameters, then points, errors and where the measurements are from."""
    rows = [(p["name"], f"{p['value']:.4g}", p["unit"], p["meaning"]) for p in fit["parameters"]]
    screen.print()
    columns = ("parameter", "value", "unit", "meaning")
    screen.print(table(fit["family"], columns, rows, left=4, whole=1))
    shown = {
        "points": fit["n"],
        "error of unseen points, relative": fit["cross_validated"],
        "spread of log(predicted / measured)": fit["residual"],
        "fitted on": fit["date"],
        "comment": fit["comment"],
        "rules": fit["reference"],
        "source": fit["points"],
    }
    for key, value in shown.items():
        text = inline(value) if isinstance(value, dict) else scalar(key, value)
        if text:
            screen.print(Padding(Text(f"{key}: {text}", style="dim" if key == "source" else ""), (0, 0, 0, 2)))


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "unset" if value is None else str(value)
