"""Whole-process times of everyday commands, their start included.

Run ``python benchmarks/commands.py [RUNS]``. On a busy machine the processor time says more than the clock.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

ENTRY = "from kvwall.simulator.cli.main import run; run()"

#: Commands and how long they may take on the clock, in seconds.
COMMANDS: dict[str, float] = {
    "--help": 0.3,
    "--version": 0.3,
    "list devices": 0.6,
    "step llama-3.1-8b --on h100": 0.6,
    "fit llama-3.1-70b --on h100:8": 0.6,
    "explain llama-3.1-8b --on h100 --scheme kivi:bits=2": 0.6,
    "compare llama-3.1-8b --on h100": 0.8,
    "compare llama-3.1-8b --on h100 --schemes all": 1.5,
    "need llama-3.1-70b --context 32k --users 16": 1.5,
}


def run_once(command: str) -> tuple[float, float]:
    """Seconds on the clock and of the processor of one process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", ENTRY, *command.split()], check=True, stdout=subprocess.DEVNULL)
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the best of a few runs of each command."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    table = Table("kvwall ...", "clock s", "processor s", "target s", "", title=f"best of {runs} runs", box=None)
    for command, target in COMMANDS.items():
        times = [run_once(command) for _ in range(runs)]
        clock, processor = (min(column) for column in zip(*times, strict=True))
        table.add_row(command, f"{clock:.2f}", f"{processor:.2f}", f"{target:g}", "" if clock < target else "MISSED")
    Console().print(table)


if __name__ == "__main__":
    main()
