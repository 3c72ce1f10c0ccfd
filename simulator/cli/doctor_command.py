"""``kvwall doctor``."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from kvwall.simulator.answers.doctor import DoctorAnswer, doctor
from kvwall.simulator.cli.options import Json
from kvwall.simulator.cli.output import emit, gib, table


def command(json: Json = False) -> None:
    """This machine, its GPUs, which calibration each would use, and what is missing."""
    emit(doctor(), json, render)


def render(answer: DoctorAnswer, screen: Console) -> None:
    """Versions, optional packages, GPUs, data."""
    terminal = answer.terminal
    utf8 = "UTF-8" if terminal.utf8 else f"{terminal.encoding}, not UTF-8: set PYTHONUTF8=1"
    screen.print(Text(f"kvwall {answer.kvwall_version} on Python {answer.python}, {answer.platform}", style="bold"))
    screen.print(Text(f"terminal: {terminal.columns} columns, {utf8}"))
    extras = [(e.name, e.version or "missing", e.needed_for, "" if e.version else e.install) for e in answer.extras]
    screen.print(table("optional packages", ("package", "version", "needed for", "install with"), extras, left=4))
    if answer.gpus:
        rows = [
            (
                gpu.name,
                "-" if gpu.memory_bytes is None else gib(gpu.memory_bytes),
                gpu.driver_version,
                gpu.device or "unknown",
                ", ".join(gpu.calibrations) or "uncalibrated (class defaults)",
            )
            for gpu in answer.gpus
        ]
        screen.print(table("GPUs", ("name", "GiB", "driver", "device", "calibration"), rows, left=5))
    else:
        screen.print(Text(f"GPUs: none ({answer.gpus_note}); planning needs none"))
    counts = ", ".join(f"{count} {plural}" for plural, count in answer.counts.items())
    state = "all load" if not answer.errors else f"{len(answer.errors)} do not load"
    screen.print(Text(f"data: {counts}; {state}"))
    for error in answer.errors:
        screen.print(Text(f"  {error}", style="red"))
