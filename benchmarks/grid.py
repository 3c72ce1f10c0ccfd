"""Points per second and memory of a grid of a million points, and the time of one estimate.

Run ``python benchmarks/grid.py``. Each line is priced in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from kvwall.simulator.estimate import Axes, estimate, estimate_grid
from kvwall.simulator.inquiry import Inquiry, resolve

#: Setups by what they stress.
SETUPS: dict[str, Inquiry] = {
    "dense": Inquiry("llama-3.1-8b", "h100"),
    "tensor parallel, kivi": Inquiry("llama-3.1-70b", "h100:8", scheme="kivi:bits=2"),
    "experts and latents": Inquiry("deepseek-v3", "h200:8"),
    "windows, quest": Inquiry("gemma-3-12b", "h100", scheme="quest"),
    "offload": Inquiry("llama-3.1-8b", "h100", scheme="kivi:bits=4+offload:to=host,fraction=0.5"),
}
SIDE = 1000
TARGET_POINTS_PER_S = 1e6
TARGET_BYTES = 500e6


def measure(name: str) -> dict[str, float]:
    """Points per second of the grid, seconds of one estimate, peak bytes of this process."""
    setup = resolve(SETUPS[name]).setup
    batch, context = np.geomspace(1, 4096, SIDE), np.geomspace(128, 2**20, SIDE)
    # One small estimate first: what is imported and remembered once is not the grid's.
    estimate(setup, Axes(1.0, 8192.0))
    start = time.perf_counter()
    estimate_grid(setup, batch, context)
    grid_s = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.perf_counter()
    for _ in range(100):
        estimate(setup, Axes(8.0, 8192.0))
    return {"points_per_s": SIDE * SIDE / grid_s, "estimate_s": (time.perf_counter() - start) / 100, "peak_bytes": peak}


def main() -> None:
    """Print a line per setup."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return
    columns = ("setup", "million points/s", "peak MB", "one estimate ms", "")
    table = Table(*columns, title=f"grid of {SIDE} x {SIDE} points", box=None)
    for name in SETUPS:
        told = subprocess.run([sys.executable, __file__, name], check=True, capture_output=True, text=True).stdout
        found = json.loads(told)
        missed = found["points_per_s"] < TARGET_POINTS_PER_S or found["peak_bytes"] > TARGET_BYTES
        table.add_row(
            name,
            f"{found['points_per_s'] / 1e6:.2f}",
            f"{found['peak_bytes'] / 1e6:.0f}",
            f"{found['estimate_s'] * 1e3:.2f}",
            "MISSED" if missed else "",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
