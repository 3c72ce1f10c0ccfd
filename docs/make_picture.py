"""Draws docs/compare.svg, the picture of the README: ``python docs/make_picture.py`` after a change of the numbers."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from kvwall.simulator.answers.compare import compare
from kvwall.simulator.cli.compare_command import render
from kvwall.simulator.cli.output import footnotes

SCHEMES = "none;fp8;int4;kivi:bits=4;kivi:bits=2;snapkv:budget=1024;quest:budget=2048;palu:keep=0.5"


def draw(path: Path) -> None:
    """Write the picture of ``kvwall compare`` to ``path``."""
    answer = compare("llama-3.1-8b", on="h100", schemes=SCHEMES.split(";"), batch=[32], context=[8192])
    screen = Console(record=True, width=100, file=io.StringIO(), force_terminal=True, highlight=False)
    screen.print("[bold green]$[/] kvwall compare llama-3.1-8b --on h100 --batch 32 --context 8k")
    render(answer, screen)
    footnotes(answer, screen)
    path.write_text(screen.export_svg(title="kvwall compare", unique_id="kvwall"))


if __name__ == "__main__":
    draw(Path(__file__).resolve().parent / "compare.svg")
