"""How every figure looks: colours that the colour-blind can tell apart, units on axes, legible in print and in dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

#: Okabe and Ito 2008, without their yellow, which vanishes on paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6E6E6E")
DASHES = ("solid", "dash", "dot", "dashdot")

#: Where the seconds of a step go, one colour each in every figure.
RESOURCES: dict[str, str] = {
    "hbm": "#0072B2",
    "matrix": "#D55E00",
    "vector": "#E69F00",
    "host": "#6E6E6E",
    "latency": "#CC79A7",
    "host link in": "#009E73",
    "host link out": "#009E73",
    "ssd": "#56B4E9",
    "scale up": "#56B4E9",
}
HEIGHT_PX = 440
_OTHER = "#999999"
_GRID = "rgba(128,128,128,0.25)"
_INK = "#7a7a7a"
_AXIS = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": _INK, "ticks": "outside", "automargin": True}
_LAYOUT = {
    "template": "none",
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"family": "system-ui, sans-serif", "size": 13, "color": _INK},
    "margin": {"l": 70, "r": 20, "t": 50, "b": 60},
    "hoverlabel": {"align": "left"},
    "legend": {"orientation": "h", "y": -0.22, "yanchor": "top"},
    "height": HEIGHT_PX,
}


def colour_of(names: Sequence[str], name: str) -> str:
    """The colour of ``name`` among ``names``; the same in every figure that shows the same names."""
    return COLOURS[list(names).index(name) % len(COLOURS)]


def dash_of(names: Sequence[str], name: str) -> str:
    """The dash of ``name``, so that lines are told apart without colour, too."""
    return DASHES[list(names).index(name) // len(COLOURS) % len(DASHES)]


def resource_colour(resource: str) -> str:
    """The colour of a resource."""
    return RESOURCES.get(resource, _OTHER)


def styled(figure: go.Figure, title: str, x: str, y: str, **layout: Any) -> go.Figure:
    """``figure`` with its title, its axes with their units, and no background of its own."""
    for name, unit in (("xaxis", x), ("yaxis", y)):
        own = {key.removeprefix(f"{name}_"): layout.pop(key) for key in list(layout) if key.startswith(f"{name}_")}
        layout[name] = {**_AXIS, "title": {"text": unit}, **own, **layout.pop(name, {})}
    # One call: plotly checks a whole layout in little more time than one of its parts.
    return figure.update_layout({**_LAYOUT, "title": {"text": title, "x": 0.0, "xanchor": "left"}, **layout})


def band(x: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str, name: str) -> go.Scatter:
    """The 80 % band of a curve, as an area that belongs to the curve's legend entry."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return go.Scatter(
        x=[*x, *reversed(x)],
        y=[*high, *reversed(low)],
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.15)",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
        name=f"{name}, 80 % band",
    )
