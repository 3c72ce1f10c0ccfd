"""The roofline: every operator of a step at its intensity and its reached rate, under the device's roofs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from kvwall.hardware.device import Device
from kvwall.simulator.answers.explain import ExplainAnswer
from kvwall.simulator.figures.breakdown import Billed
from kvwall.simulator.figures.style import colour_of, styled

_SYMBOLS = {"attention": "circle", "feed-forward": "square", "head": "diamond"}


def roofline(points: Sequence[tuple[str, Billed]], device: Device, gpus: int) -> go.Figure:
    """Operators of each named step: FLOP per byte of device memory against FLOP per second of one GPU.

    :param points: name and step, with its terms
    :param gpus: devices over which the step's amounts are summed

    Rates carry the band of the whole step. Attention also stands where its I/O lower bound would put it.
    """
    placed = [(name, operator) for name, point in points for operator in _operators(point, gpus)]
    figure = go.Figure()
    lowest = min([operator.intensity for _, operator in placed], default=0.1) / 3
    highest = max([operator.intensity for _, operator in placed], default=1000.0) * 3
    bandwidth = device.hbm.bandwidth_bytes_per_s
    for dtype in ("bf16", "fp8"):
        if device.matrix_dtype(dtype) != dtype:
            continue
        peak = device.matrix_flops_per_s(dtype)
        x = np.geomspace(lowest, max(highest, 3 * peak / bandwidth), 60)
        figure.add_scatter(
            x=x, y=np.minimum(peak, x * bandwidth), mode="lines", name=f"{dtype} roof",
            line={"color": "#888", "dash": "solid" if dtype == "bf16" else "dash"},
            hovertemplate=f"{dtype}: ridge at {peak / bandwidth:.0f} FLOP/B<extra></extra>",
        )  # fmt: skip
    names = list(dict.fromkeys(name for name, _ in points))
    for name in names:
        own = [operator for of, operator in placed if of == name]
        figure.add_scatter(
            x=[operator.intensity for operator in own],
            y=[operator.flops_per_s for operator in own],
            mode="markers",
            name=name,
            marker={
                "color": colour_of(names, name),
                "size": [8 + 30 * operator.share for operator in own],
                "symbol": [_SYMBOLS.get(operator.owner, "x") for operator in own],
                "opacity": 0.8,
            },
            error_y={
                "array": [operator.flops_per_s * (operator.band[1] - 1) for operator in own],
                "arrayminus": [operator.flops_per_s * (1 - operator.band[0]) for operator in own],
                "thickness": 0.8,
            },
            customdata=[(operator.name, operator.share * 100) for operator in own],
            hovertemplate="%{customdata[0]}<br>%{x:.2f} FLOP/B, %{y:.3s}FLOP/s<br>"
            "%{customdata[1]:.1f} % of the step<extra></extra>",
        )
    for name, point in points:
        _add_bounds(figure, name, point, gpus)
    title = f"Roofline of one {device.name}"
    return styled(figure, title, "FLOP per byte of device memory", "FLOP/s", xaxis_type="log", yaxis_type="log")


@dataclass(frozen=True)
class _Operator:
    """An operator that computes: FLOP per byte, FLOP per second of one GPU with its band, and its part of the step."""

    owner: str
    name: str
    intensity: float
    flops_per_s: float
    share: float
    band: tuple[float, float]


def _add_bounds(figure: go.Figure, name: str, point: Billed, gpus: int) -> None:
    """Attention operators at the intensity of the fewest bytes that any order of their work moves."""
    if not isinstance(point, ExplainAnswer):
        return
    found = {operator.name: operator for operator in _operators(point, gpus)}
    for level in point.io.levels:
        operator = found.get(level.operator)
        if operator is None or not level.level.startswith("HBM") or level.bound_bytes <= 0:
            continue
        figure.add_scatter(
            x=[operator.intensity * level.moved_bytes / level.bound_bytes], y=[operator.flops_per_s], mode="markers",
            marker={"symbol": "line-ns-open", "size": 18, "color": "#333", "line": {"width": 2}}, showlegend=False,
            name=f"{name}, I/O lower bound",
            hovertemplate=f"{level.operator}: I/O lower bound, {level.bound}; {level.ratio:.3g} times as much moves"
            f"<extra>{name}</extra>",
        )  # fmt: skip


def _operators(point: Billed, gpus: int) -> list[_Operator]:
    found: dict[tuple[str, str], list[float]] = {}
    for line in point.terms:
        amounts = found.setdefault((line.owner, line.operator), [0.0, 0.0, 0.0])
        amounts[0] += line.amount if line.resource == "matrix" else 0.0
        amounts[1] += line.amount if line.resource == "hbm" else 0.0
        amounts[2] += line.charged_s
    step = point.step_s
    band = (step.mid / step.high, step.mid / step.low)
    return [
        _Operator(owner, operator, flops / moved, flops / seconds / gpus, seconds / point.step_s.mid, band)
        for (owner, operator), (flops, moved, seconds) in found.items()
        if flops > 0 and moved > 0 and seconds > 0
    ]
