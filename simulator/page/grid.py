"""The grid behind the controls of an exported page: step times of every scheme at every batch and context."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, estimate
from kvwall.simulator.figures.style import colour_of, styled
from kvwall.simulator.page.controls import Controls
from kvwall.simulator.page.views import setups

_BATCHES = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512])
_CONTEXTS = 2 ** np.arange(9, 20)


def grid_of(controls: Controls) -> dict[str, Any]:
    """Milliseconds of a step by scheme, batch and context, with both ends of the band and whether it fits."""
    found, _ = setups(controls)
    batch = _with(_BATCHES, controls.tokens("batch"))
    context = _with(_CONTEXTS, controls.tokens("context"))
    shape = (batch.size, context.size)
    made: dict[str, Any] = {"low": [], "mid": [], "high": [], "fits": []}
    for setup in found.values():
        axes = Axes(batch[:, None].astype(float), context[None, :].astype(float))
        step = estimate(setup, axes, keep_lines=False).step_s
        for end in ("low", "mid", "high"):
            rounded = np.broadcast_to(np.asarray(getattr(step, end)) * 1e3, shape)
            made[end].append([[float(f"{value:.6g}") for value in row] for row in rounded])
        made["fits"].append(np.broadcast_to(Capacity(setup, 1).fits(axes.batch, axes.context), shape).tolist())
    names = list(found)
    figure = styled(go.Figure(), "Time of a step", "milliseconds", "")
    layout = figure.to_plotly_json()["layout"]
    layout["yaxis"]["autorange"] = "reversed"
    start = {name: int(np.searchsorted(axis, controls.tokens(name))) for name, axis in
             (("batch", batch), ("context", context))}  # fmt: skip
    return {
        **made, "schemes": names, "colours": [colour_of(names, name) for name in names], "batch": batch.tolist(),
        "context": context.tolist(), "start": start, "layout": layout,
    }  # fmt: skip


def _with(axis: Any, value: int) -> Any:
    """``axis`` with the point of the controls among its values."""
    return np.unique(np.append(axis, value))
