"""The tornado of an answer: how far each uncertain factor moves it, and its part of the variance."""

from __future__ import annotations

import plotly.graph_objects as go

from kvwall.simulator.figures.style import COLOURS, styled
from kvwall.simulator.sensitivity import Sensitivity

_MOST = 12


def tornado(found: Sensitivity) -> go.Figure:
    """A bar from low to high for each factor, the largest part of the variance on top."""
    shown = found.swings[:_MOST]
    names = [f"{swing.factor.name} ({swing.total:.0%})" for swing in shown]
    figure = go.Figure()
    for end, colour, told in (("low", COLOURS[0], "low end"), ("high", COLOURS[1], "high end")):
        figure.add_bar(
            y=names,
            x=[getattr(swing, end) - found.mid for swing in shown],
            base=[found.mid] * len(shown),
            orientation="h",
            marker={"color": colour},
            name=f"factor at its {told}",
            customdata=[(getattr(swing.factor, end), getattr(swing, end), swing.first) for swing in shown],
            hovertemplate="%{y}<br>factor %{customdata[0]:.4g}: answer %{customdata[1]:.4g}"
            "<br>alone %{customdata[2]:.0%} of the variance<extra></extra>",
        )
    figure.add_vline(x=found.mid, line={"color": "#888", "width": 1})
    figure.add_vrect(x0=found.low, x1=found.high, fillcolor="#888", opacity=0.12, line_width=0)
    title = f"What it hangs on: {found.answer} {found.mid:.4g} {found.unit} (80 % {found.low:.4g} to {found.high:.4g})"
    unit = f"{found.answer}, {found.unit}" if found.unit else found.answer
    return styled(figure, title, unit, "", barmode="overlay", yaxis={"autorange": "reversed"})
