"""``kvwall schema``."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import Annotated

import typer

from kvwall.simulator.answers.schema import schema
from kvwall.simulator.cli.options import Json
from kvwall.simulator.cli.output import save


def command(
    name: Annotated[str, typer.Argument(metavar="COMMAND", help="step, fit, plan, ...", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="write to a file instead of stdout", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """The JSON schema of the document that a command prints with --json; always JSON itself."""
    text = json_format.dumps(schema(name), indent=2) + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        save(output, text)
