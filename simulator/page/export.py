"""The views as one file that opens without a server or a network, with controls that work on a computed grid."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from kvwall.simulator.page.views import View

_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1100px;padding:1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2.5rem;border-top:1px solid #8884;padding-top:1rem}
pre{overflow-x:auto;background:#8881;padding:.6rem;border-radius:4px}
.chart{min-height:440px}label{margin-right:1.2rem}select,input{font:inherit;margin-left:.4rem}
@media print{h2{break-before:page}}
"""

#: Draws every figure of the page from the JSON beside it, and redraws those of the grid when a control moves.
_SCRIPT = """
const page = JSON.parse(document.getElementById('page').textContent);
const config = {displaylogo: false, responsive: true};
page.figures.forEach((f, i) => Plotly.newPlot('figure-' + i, f.data, f.layout, config));
const grid = page.grid;
function shown() {
  const value = id => document.getElementById(id).value;
  const b = +value('grid-batch'), c = +value('grid-context');
  document.getElementById('grid-batch-now').textContent = grid.batch[b].toLocaleString();
  document.getElementById('grid-context-now').textContent = grid.context[c].toLocaleString();
  const on = grid.schemes.map((_, i) => document.getElementById('grid-scheme-' + i).checked);
  const names = grid.schemes.filter((_, i) => on[i]);
  const pick = key => grid.schemes.map((_, i) => grid[key][i][b][c]).filter((_, i) => on[i]);
  const mid = pick('mid'), low = pick('low'), high = pick('high'), fits = pick('fits');
  Plotly.react('grid-figure', [{type: 'bar', orientation: 'h', y: names, x: mid,
    marker: {color: names.map((n, i) => fits[i] ? grid.colours[grid.schemes.indexOf(n)] : '#bbb')},
    text: mid.map((v, i) => v.toPrecision(4) + (fits[i] ? '' : ' (does not fit)')),
    error_x: {array: high.map((v, i) => v - mid[i]), arrayminus: low.map((v, i) => mid[i] - v)}}],
    {...grid.layout}, config);
}
if (grid) {
  ['grid-batch', 'grid-context', ...grid.schemes.map((_, i) => 'grid-scheme-' + i)].forEach(
    id => document.getElementById(id).addEventListener('input', shown));
  shown();
}
"""


def page_of(views: Mapping[str, View], title: str = "kvwall", grid: Mapping[str, Any] | None = None) -> str:
    """One HTML document with every view.

    :param grid: step times by scheme, batch and context, as :func:`kvwall.simulator.page.grid.grid_of` makes them
    """
    figures: list[go.Figure] = []
    body = [f"<h1>{escape(title)}</h1>"]
    if grid is not None:
        body.append(_grid_controls(grid))
    for name, view in views.items():
        body.append(f"<section><h2>{escape(name)}</h2><p>{escape(view.says)}</p>")
        for figure in view.figures:
            body.append(f'<div class="chart" id="figure-{len(figures)}"></div>')
            figures.append(figure)
        body.append(f"<pre>{escape(view.command)}</pre></section>")
    data = {"figures": [json.loads(figure.to_json()) for figure in figures], "grid": grid}
    # Inside a script a text may not close it.
    embedded = json.dumps(data).replace("</", "<\\/")
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; "
            "style-src 'unsafe-inline'; img-src data: blob:\">",
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            *body,
            f'<script type="application/json" id="page">{embedded}</script>',
            f"<script>{get_plotlyjs()}</script><script>{_SCRIPT}</script></body></html>",
        ]
    )


def _grid_controls(grid: Mapping[str, Any]) -> str:
    """Sliders over batch and context and a box for each scheme, above the figure that they move."""
    sliders = "".join(
        f'<label>{name.title()} <input type="range" id="grid-{name}" min="0" max="{len(grid[name]) - 1}" '
        f'value="{grid["start"][name]}"> <output id="grid-{name}-now"></output></label>'
        for name in ("batch", "context")
    )
    boxes = "".join(
        f'<label><input type="checkbox" id="grid-scheme-{i}" checked>{escape(name)}</label>'
        for i, name in enumerate(grid["schemes"])
    )
    return (
        "<section><h2>Try it</h2><p>Step time at any point of a computed grid, with its 80 % band.</p>"
        f'<p>{sliders}</p><p>{boxes}</p><div class="chart" id="grid-figure"></div></section>'
    )
