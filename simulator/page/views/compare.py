"""Stacks side by side at one point, and the curves around it."""

from __future__ import annotations

import plotly.graph_objects as go

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.compare import CompareRow, RefusedRow
from kvwall.simulator.figures.breakdown import of_rows
from kvwall.simulator.figures.curves import Measure, curves
from kvwall.simulator.page.controls import Controls
from kvwall.simulator.page.views.base import View, along, comparison


def compare_view(controls: Controls) -> View:
    """Where the time of a step goes under each stack, and the curves around that point."""
    answer = comparison(controls)
    rows = [row for row in answer.rows if isinstance(row, CompareRow)]
    refused = [row.refused for row in answer.rows if isinstance(row, RefusedRow)]
    if not rows:
        raise InputError("; ".join(refused))
    fastest = min(rows, key=lambda row: (not row.fits, row.step_s.mid))
    fits = "fits" if fastest.fits else "does not fit"
    says = (
        f"{fastest.scheme} is the fastest: {fastest.step_s.mid * 1e3:.2f} ms a step "
        f"({fastest.step_s.low * 1e3:.2f} to {fastest.step_s.high * 1e3:.2f}), bound by {fastest.bound_by}; it {fits}."
    )
    figures = [of_rows(rows), *(_curve(controls, measure) for measure in ("step", "tokens", "cost"))]
    made, held = along(controls, "batch")
    figures.append(curves(made, "batch", "tokens", held))
    return View(" ".join([says, *refused]), tuple(figures), controls.command("compare"))


def _curve(controls: Controls, measure: Measure) -> go.Figure:
    made, held = along(controls, "context")
    return curves(made, "context", measure, held)
