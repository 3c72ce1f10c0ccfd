"""The best deployments of a plan, side by side by what the plan minimises."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from kvwall.simulator.answers.plan import PlanAnswer
from kvwall.simulator.answers.plan_rows import Candidate
from kvwall.simulator.figures.style import colour_of, styled

#: Candidates that are shown.
_MOST = 12


def ranking(answer: PlanAnswer) -> go.Figure:
    """Cost (or time per token, where no price is known) of the first candidates, each with its band; ties are named."""
    rows = answer.candidates[:_MOST]
    priced, mids, unit = costs(rows)
    names = list(dict.fromkeys(row.scheme for row in answer.candidates))
    labels = [f"{row.rank}  {row.scheme}, {row.weights}, {_split(row)}" for row in rows]
    # Dollars fall as the rate rises.
    spans = [row.tokens_per_s if priced else row.tpot_s for row in rows]
    highs = [
        mid * (span.mid / span.low if priced else span.high / span.mid) for mid, span in zip(mids, spans, strict=True)
    ]
    lows = [
        mid * (span.mid / span.high if priced else span.low / span.mid) for mid, span in zip(mids, spans, strict=True)
    ]
    figure = go.Figure(
        go.Bar(
            x=mids,
            y=labels,
            orientation="h",
            marker={"color": [colour_of(names, row.scheme) for row in rows]},
            error_x={
                "array": [high - mid for high, mid in zip(highs, mids, strict=True)],
                "arrayminus": [mid - low for low, mid in zip(lows, mids, strict=True)],
                "color": "#333",
                "thickness": 1.2,
            },
            text=[f"{mid:.3g}{_tied(row)}" for mid, row in zip(mids, rows, strict=True)],
            textposition="inside",
            insidetextanchor="start",
            customdata=[_told(row) for row in rows],
            hovertemplate="%{customdata}<extra></extra>",
        )
    )
    title = f"The best of {answer.candidate_count:,} deployments by {answer.objective}, with its 80 % band"
    styled(figure, title, unit, "", yaxis={"autorange": "reversed"}, showlegend=False)
    return figure.update_layout(height=160 + 30 * len(rows))


def costs(rows: Sequence[Candidate]) -> tuple[bool, list[float], str]:
    """Whether all are priced, what each costs, and the unit: dollars, or time per token where a price is missing."""
    usd = [row.usd_per_million_tokens for row in rows]
    known = [one for one in usd if one is not None]
    if len(known) == len(usd):
        return True, known, "USD per million generated tokens"
    return False, [row.tpot_s.mid * 1e3 for row in rows], "milliseconds per token (TPOT)"


def _split(row: Candidate) -> str:
    degrees = (("tp", row.tp), ("pp", row.pp), ("dp", row.dp), ("ep", row.ep), ("attn_dp", row.attn_dp))
    return " ".join(f"{name}{degree}" for name, degree in degrees if degree > 1) or "tp1"


def _tied(row: Candidate) -> str:
    return f", tied with {', '.join(map(str, row.tied_with[:3]))}" if row.tied_with else ""


def _told(row: Candidate) -> str:
    return (
        f"<b>rank {row.rank}: {row.scheme}</b>, {row.weights}, {_split(row)}, batch {row.batch:,}<br>"
        f"TTFT {row.ttft_s.mid:.2f} s, TPOT {row.tpot_s.mid * 1e3:.1f} ms, {row.tokens_per_s.mid:,.0f} tokens/s<br>"
        f"<code>{row.engine_flags}</code>"
    )
