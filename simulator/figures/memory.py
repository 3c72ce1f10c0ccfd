"""How a GPU's memory is spent: from what the card has, through weights and reserve, to what is left for the cache."""

from __future__ import annotations

import plotly.graph_objects as go

from kvwall.simulator.answers.fit import FitAnswer
from kvwall.simulator.figures.style import COLOURS, styled

_GIB = 2.0**30


def memory(answer: FitAnswer) -> go.Figure:
    """A waterfall of one rank, the fullest, in GiB; the cache that the asked users need stands beside what is left."""
    per_gpu = answer.per_gpu
    beyond = per_gpu.memory_bytes - per_gpu.usable_bytes
    names = ["memory", "not used by the engine", "weights"]
    values = [per_gpu.memory_bytes, -beyond, -per_gpu.weights_loaded_bytes.mid]
    told = ["of the device", f"memory fraction {answer.utilization:g}", f"{answer.weights}, as loaded"]
    for part in per_gpu.reserve_parts:
        names.append(part.name)
        values.append(-part.bytes.mid)
        told.append(f"{part.equation}<br>{part.bytes.low / _GIB:.2f} to {part.bytes.high / _GIB:.2f} GiB")
    names.append("left for the cache")
    values.append(per_gpu.kv_bytes.mid)
    told.append(f"{per_gpu.kv_bytes.low / _GIB:.2f} to {per_gpu.kv_bytes.high / _GIB:.2f} GiB")
    figure = go.Figure(
        go.Waterfall(
            x=names,
            y=[value / _GIB for value in values],
            measure=["absolute", *["relative"] * (len(names) - 2), "total"],
            customdata=told,
            hovertemplate="%{x}: %{y:.2f} GiB<br>%{customdata}<extra></extra>",
            text=[f"{abs(value) / _GIB:.1f}" for value in values],
            decreasing={"marker": {"color": COLOURS[1]}},
            totals={"marker": {"color": COLOURS[0]}},
            increasing={"marker": {"color": COLOURS[0]}},
        )
    )
    users = f"{answer.users:,} user{'s' if answer.users > 1 else ''} of {answer.context:,} tokens"
    figure.add_bar(
        x=["asked"],
        y=[answer.kv_bytes_asked_per_gpu / _GIB],
        marker={"color": COLOURS[2]},
        hovertemplate=f"{users}: %{{y:.2f}} GiB<extra></extra>",
        text=[f"{answer.kv_bytes_asked_per_gpu / _GIB:.1f}"],
    )
    spread = per_gpu.kv_bytes
    figure.add_scatter(
        x=["left for the cache"],
        y=[spread.mid / _GIB],
        mode="markers",
        marker={"color": "rgba(0,0,0,0)"},
        error_y={"array": [(spread.high - spread.mid) / _GIB], "arrayminus": [(spread.mid - spread.low) / _GIB]},
        hoverinfo="skip",
    )
    verdict = "fits" if answer.fits else "does not fit"
    title = f"Memory of one GPU: {users} {verdict if answer.users == 1 else verdict.replace('fits', 'fit')}"
    return styled(figure, title, "", "GiB", showlegend=False)
