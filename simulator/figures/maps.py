"""Maps over context and batch: which scheme is fastest, and how many users fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from kvwall.simulator.figures.style import colour_of, styled
from kvwall.simulator.traffic import Array


def break_even(seconds: Mapping[str, Array], fits: Mapping[str, Array], batch: Array, context: Array) -> go.Figure:
    """Who is fastest among the schemes that fit, at each batch and context, and by how much over the next.

    :param seconds: step time by scheme, shape (batch, context); likewise ``fits``
    """
    names = list(seconds)
    stacked = np.stack([np.where(fits[name], seconds[name], np.inf) for name in names])
    order = np.sort(stacked, axis=0)
    winner = np.argmin(stacked, axis=0).astype(float)
    none = ~np.isfinite(order[0])
    lead = np.full(winner.shape, np.nan)
    if len(names) > 1:
        known = np.isfinite(order[1]) & ~none
        lead[known] = order[1][known] / order[0][known]
    told = np.array([*names, "nothing fits"], dtype=object)[np.where(none, len(names), winner).astype(int)]
    winner[none] = np.nan
    faster = np.where(np.isnan(lead), "-", np.char.mod("%.2fx", np.nan_to_num(lead)))
    figure = go.Figure(
        go.Heatmap(
            x=context,
            y=batch,
            z=winner,
            zmin=-0.5,
            zmax=len(names) - 0.5,
            colorscale=_steps(names),
            customdata=np.dstack([told, faster]),
            hovertemplate="batch %{y:,}, context %{x:,}<br><b>%{customdata[0]}</b>, "
            "%{customdata[1]} faster than the next<extra></extra>",
            colorbar={"tickvals": list(range(len(names))), "ticktext": names, "title": "fastest"},
            opacity=0.85,
        )
    )
    title = "Which scheme is fastest among those that fit"
    return styled(figure, title, "tokens of context", "sequences", xaxis_type="log", yaxis_type="log")


def users_that_fit(held: Mapping[str, Array], context: Array) -> go.Figure:
    """Users that fit at each context, by scheme, as a map with its numbers.

    :param held: by scheme, sequences that the whole deployment holds, shape (context,)
    """
    names = list(held)
    z = np.stack([np.floor(held[name]) for name in names])
    figure = go.Figure(
        go.Heatmap(
            x=[f"{int(tokens):,}" for tokens in context],
            y=names,
            z=np.log10(np.maximum(z, 0.5)),
            text=np.char.mod("%d", z.astype(int)),
            texttemplate="%{text}",
            colorscale="Cividis",
            colorbar={"title": "users", "tickvals": [0, 1, 2, 3, 4], "ticktext": ["1", "10", "100", "1k", "10k"]},
            hovertemplate="%{y} at %{x} tokens: %{text} users<extra></extra>",
        )
    )
    return styled(figure, "Users that fit", "tokens of context per user", "", xaxis_type="category")


def _steps(names: list[str]) -> list[tuple[float, str]]:
    """A colour scale with one even step for each name."""
    count = len(names)
    return [((place + end) / count, colour_of(names, name)) for place, name in enumerate(names) for end in (0, 1)]
