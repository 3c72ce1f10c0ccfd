"""A Pareto front in characters: time per token to the right, tokens per second upwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kvwall.simulator.answers.plan_rows import Candidate

_WIDTH, _HEIGHT = 64, 8


def sketch(front: Sequence[Candidate]) -> str:
    """The candidates of ``front`` as points; ``1`` is the pick, ``o`` the others."""
    tpot_ms = np.array([candidate.tpot_s.mid * 1e3 for candidate in front])
    rate = np.array([candidate.tokens_per_s.mid for candidate in front])
    cells = [[" "] * _WIDTH for _ in range(_HEIGHT)]
    for candidate, column, row in zip(front, _place(tpot_ms, _WIDTH), _place(rate, _HEIGHT), strict=True):
        cell = cells[_HEIGHT - 1 - row]
        if cell[column] != "1":
            cell[column] = "1" if candidate.rank == 1 else "o"
    labels = [f"{rate.max():,.0f}", *[""] * (_HEIGHT - 2), f"{rate.min():,.0f}"]
    width = max(map(len, labels))
    lines = [f"{label:>{width}} |{''.join(cell).rstrip()}" for label, cell in zip(labels, cells, strict=True)]
    low, high = f"{tpot_ms.min():.1f}", f"{tpot_ms.max():.1f} ms TPOT"
    axis = f"{'':>{width}} +{'-' * _WIDTH}"
    return "\n".join([f"{'tok/s':>{width}}", *lines, axis, f"{'':>{width}}  {low}{high:>{_WIDTH - len(low)}}"])


def _place(values: np.ndarray, cells: int) -> list[int]:
    """Each value as a cell between the smallest and the largest, on a logarithmic scale."""
    logs = np.log(values)
    span = float(logs.max() - logs.min()) or 1.0
    return [int(position) for position in np.round((logs - logs.min()) / span * (cells - 1))]
