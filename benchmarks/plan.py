"""Whole-process time of a plan over everything: Llama-3.1-70B on eight H200, all splits, formats and schemes.

Run ``python benchmarks/plan.py [RUNS]``; the target is below 1.5 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

TARGET_S = 1.5
COMMAND = "from kvwall.simulator.cli.main import run; run()"
ARGUMENTS = ("plan", "Llama-3.1-70B", "--on", "h200:8", "--users", "64", "--input", "4k", "--output", "512", "--json")


def run_once() -> float:
    """Seconds of one process, its start included."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", COMMAND, *ARGUMENTS], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print the times of a few runs."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    times = [run_once() for _ in range(runs)]
    print(f"kvwall {' '.join(ARGUMENTS)}")
    print(f"median {statistics.median(times):.2f} s, best {min(times):.2f} s of {runs} runs; target {TARGET_S} s")


if __name__ == "__main__":
    main()
