"""The Pareto front of a plan: cost against time per token, every candidate, the front joined."""

from __future__ import annotations

import plotly.graph_objects as go

from kvwall.simulator.answers.plan import PlanAnswer
from kvwall.simulator.answers.plan_rows import Candidate
from kvwall.simulator.figures.ranking import costs
from kvwall.simulator.figures.style import colour_of, styled

#: Where schemes without a published figure stand.
_UNKNOWN = -4.0
_LOG = {"xaxis_type": "log", "yaxis_type": "log"}


def quality(answer: PlanAnswer) -> go.Figure:
    """Cost of the best candidate of each scheme against what its scheme was measured to lose; ``none`` loses nothing.

    A published figure is of one model and setting; schemes without one stand apart on the left.
    """
    figure, best = go.Figure(), {row.scheme: row for row in reversed(answer.candidates)}
    names = list(dict.fromkeys(row.scheme for row in answer.candidates))
    _, spent, unit = costs([best[name] for name in names])
    for name, cost in zip(names, spent, strict=True):
        row = best[name]
        losses = [(100 * entry.loss / abs(entry.baseline), entry) for entry in row.quality if entry.baseline]
        worst = max(losses, key=lambda pair: pair[0], default=None)
        known = 0.0 if name == "none" else _UNKNOWN
        figure.add_scatter(
            x=[known if worst is None else worst[0]],
            y=[cost],
            mode="markers",
            name=name,
            marker={
                "color": colour_of(names, name), "size": 12,
                "symbol": "circle-open" if worst is None and known else "circle",
            },
            customdata=[_told(row)],
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    title = "What it costs, and what its scheme was published to lose"
    styled(figure, title, "largest published loss, per cent of the figure without the scheme", unit, yaxis_type="log")
    figure.add_vline(x=_UNKNOWN / 2, line={"color": "#999", "dash": "dot"})
    figure.add_annotation(x=_UNKNOWN, y=1, yref="paper", yanchor="bottom", text="no published figure", showarrow=False)
    return figure


def pareto(answer: PlanAnswer) -> go.Figure:
    """Candidates as dollars (or throughput per GPU, where no price is known) against TPOT, with both bands."""
    priced = all(row.usd_per_million_tokens is not None for row in answer.candidates)
    names = list(dict.fromkeys(row.scheme for row in answer.candidates))
    figure = go.Figure()

    def y(row: Candidate) -> float:
        usd = row.usd_per_million_tokens
        return row.tokens_per_s_per_gpu.mid if usd is None or not priced else usd

    for name in names:
        own = [row for row in answer.candidates if row.scheme == name]
        figure.add_scatter(
            x=[row.tpot_s.mid * 1e3 for row in own],
            y=[y(row) for row in own],
            mode="markers",
            name=name,
            marker={
                "color": colour_of(names, name),
                "size": [14 if row.pareto else 8 for row in own],
                "symbol": ["star" if row.pareto else "circle" for row in own],
            },
            error_x={
                "array": [(row.tpot_s.high - row.tpot_s.mid) * 1e3 for row in own],
                "arrayminus": [(row.tpot_s.mid - row.tpot_s.low) * 1e3 for row in own],
                "thickness": 0.7,
            },
            customdata=[_told(row) for row in own],
            hovertemplate="%{customdata}<br>%{x:.1f} ms, %{y:.3g}<extra></extra>",
        )
    front = sorted((row for row in answer.candidates if row.pareto), key=lambda row: row.tpot_s.mid)
    figure.add_scatter(
        x=[row.tpot_s.mid * 1e3 for row in front], y=[y(row) for row in front], mode="lines", name="front",
        line={"color": "#999", "dash": "dot"}, hoverinfo="skip",
    )  # fmt: skip
    unit = "USD per million generated tokens" if priced else "tokens per second and GPU"
    return styled(figure, "What it costs, and how fast it answers", "milliseconds per token (TPOT)", unit, **_LOG)


def _told(row: Candidate) -> str:
    """Everything of a candidate that its place does not say."""
    figures = "; ".join(f"{entry.metric} {entry.baseline:g} to {entry.value:g}" for entry in row.quality[:2])
    return (
        f"<b>rank {row.rank}: {row.scheme}</b>, {row.weights}, tp{row.tp} pp{row.pp} dp{row.dp}<br>"
        f"batch {row.batch:,}, {row.users:,} users, TTFT {row.ttft_s.mid:.2f} s<br>"
        f"{figures or 'no published quality'}"
    )
