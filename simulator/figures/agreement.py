"""Predicted against known: kernels against measurements, published results against predictions."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from kvwall.simulator.figures.style import COLOURS, colour_of, styled


def against(
    groups: Sequence[str],
    known: Sequence[float],
    predicted: Sequence[float],
    told: Sequence[str],
    title: str,
    unit: str,
) -> go.Figure:
    """One point a row on logarithmic axes, with lines at equality and at 25 % either way.

    :param groups: what each row is coloured by
    :param known: measured or published figures, above 0
    :param told: what hovering says of each row
    """
    figure = go.Figure()
    ends = [min(*known, *predicted) / 2, max(*known, *predicted) * 2]
    for factor, dash in ((1.0, "solid"), (1.25, "dot"), (0.8, "dot")):
        figure.add_scatter(
            x=ends, y=[end * factor for end in ends], mode="lines", hoverinfo="skip",
            line={"color": COLOURS[-1], "dash": dash, "width": 1},
            name="equal" if factor == 1 else "25 % off", showlegend=factor >= 1,
        )  # fmt: skip
    names = list(dict.fromkeys(groups))
    for name in names:
        own = [i for i, group in enumerate(groups) if group == name]
        figure.add_scatter(
            x=[known[i] for i in own],
            y=[predicted[i] for i in own],
            mode="markers",
            name=name,
            marker={"color": colour_of(names, name), "size": 7, "opacity": 0.75},
            customdata=[told[i] for i in own],
            hovertemplate="%{customdata}<br>known %{x:.4g}, predicted %{y:.4g}<extra></extra>",
        )
    return styled(figure, title, f"known, {unit}", f"predicted, {unit}", xaxis_type="log", yaxis_type="log")
