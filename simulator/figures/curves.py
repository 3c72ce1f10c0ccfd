"""Curves against context or batch, one a scheme, each with its band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from kvwall.simulator.estimate import Estimate
from kvwall.simulator.figures.style import band, colour_of, dash_of, styled
from kvwall.simulator.traffic import Array

Axis = Literal["context", "batch"]
Flags = NDArray[np.bool_]
Measure = Literal["step", "tokens", "cost"]

_TITLES: dict[Measure, tuple[str, str]] = {
    "step": ("Time of a step", "milliseconds"),
    "tokens": ("Throughput", "tokens per second"),
    "cost": ("Cost", "USD per million tokens"),
}
_AXES: dict[Axis, str] = {"context": "tokens of context per sequence", "batch": "sequences in the batch"}


@dataclass(frozen=True)
class Curve:
    """One measure along one axis, with its band; shape (n,)."""

    low: Array
    mid: Array
    high: Array


def curve_of(found: Estimate, measure: Measure) -> Curve | None:
    """``measure`` of an estimate whose only axis has length n; ``None`` where no price is known."""
    seconds = [np.ravel(np.asarray(value)) for value in (found.step_s.low, found.step_s.mid, found.step_s.high)]
    if measure == "step":
        return Curve(*(value * 1e3 for value in seconds))
    tokens = np.broadcast_to(np.ravel(found.tokens), seconds[0].shape)
    if measure == "tokens":
        return Curve(tokens / seconds[2], tokens / seconds[1], tokens / seconds[0])
    hourly = found.setup.usd_per_hour
    if hourly is None:
        return None
    each = hourly / 3600 * 1e6 / found.setup.paid_utilization
    return Curve(*(each * value / tokens for value in seconds))


def curves(found: Mapping[str, Estimate], axis: Axis, measure: Measure, fits: Mapping[str, Flags]) -> go.Figure:
    """A curve for each scheme; where the batch does not fit the line goes on thin.

    :param found: estimates by scheme, each along the same values of ``axis``
    :param fits: by scheme, whether each point fits, shape (n,)
    """
    traces: list[go.Scatter] = []
    names = list(found)
    for name, estimate in found.items():
        made = curve_of(estimate, measure)
        if made is None:
            continue
        x = np.ravel(np.asarray(getattr(estimate.axes, axis), dtype=np.float64)).tolist()
        colour, dash, inside = colour_of(names, name), dash_of(names, name), fits[name]
        traces.append(band(x, made.low.tolist(), made.high.tolist(), colour, name))
        for held, width, opacity in ((inside, 2.5, 1.0), (~inside, 1.0, 0.45)):
            # The thin line starts at the last point that fits, so that the two meet.
            shown = held | np.append(held[1:], False) if width < 2 else held
            if not np.any(held):
                continue
            traces.append(
                go.Scatter(
                    x=x,
                    y=np.where(shown, made.mid, np.nan).tolist(),
                    mode="lines",
                    name=name if width > 2 else f"{name} (does not fit)",
                    legendgroup=name,
                    showlegend=width > 2 or not np.any(inside),
                    opacity=opacity,
                    line={"color": colour, "dash": dash, "width": width},
                    hovertemplate=f"%{{x:,}}: %{{y:.4g}}<extra>{name}</extra>",
                )
            )
    title, unit = _TITLES[measure]
    return styled(go.Figure(traces), title, _AXES[axis], unit, xaxis_type="log", yaxis_type="log")
