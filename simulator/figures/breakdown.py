"""Where a step's time goes: one bar a scheme, its terms by resource; every part says its equation."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from kvwall.simulator.answers.compare import CompareRow
from kvwall.simulator.answers.explain import ExplainAnswer
from kvwall.simulator.answers.step import StepPoint, TermLine
from kvwall.simulator.figures.style import resource_colour, styled

#: Terms below this part of the step are joined, by resource.
_SMALL = 0.01


#: A step with its bill.
Billed = StepPoint | ExplainAnswer


def breakdown(points: Sequence[tuple[str, Billed]], title: str = "Where a step's time goes") -> go.Figure:
    """One stacked bar for each named point, with its band, and the data sheet's bound as a mark.

    :param points: name and step, with its terms
    """
    parts: dict[str, list[tuple[str, TermLine, float, str]]] = {}
    for name, point in points:
        for line, seconds, told in _parts(point):
            whole = f"{told}<br>{seconds * 1e3:.3f} ms of {point.step_s.mid * 1e3:.3f}"
            parts.setdefault(line.resource, []).append((name, line, seconds, whole))
    bars = [
        go.Bar(
            y=[name for name, *_ in own],
            x=[seconds * 1e3 for _, _, seconds, _ in own],
            orientation="h",
            name=resource,
            marker={"color": resource_colour(resource), "line": {"width": 0.5, "color": "white"}},
            customdata=[_equation(name, line) for name, line, *_ in own],
            hovertext=[f"{told}<br>{name}" for name, *_, told in own],
            hoverinfo="text",
        )
        for resource, own in parts.items()
    ]
    figure = go.Figure(bars)
    names = [name for name, _ in points]
    figure.add_scatter(
        y=names,
        x=[point.step_s.mid * 1e3 for _, point in points],
        mode="markers",
        marker={"color": "rgba(0,0,0,0)"},
        error_x={
            "array": [(point.step_s.high - point.step_s.mid) * 1e3 for _, point in points],
            "arrayminus": [(point.step_s.mid - point.step_s.low) * 1e3 for _, point in points],
            "color": "#333",
            "thickness": 1.5,
        },
        name="80 % band",
        hoverinfo="skip",
    )
    figure.add_scatter(
        y=names,
        x=[point.ideal_step_s * 1e3 for _, point in points],
        mode="markers",
        marker={"symbol": "line-ns-open", "size": 22, "color": "#333", "line": {"width": 3}},
        name="data sheet's bound",
        hovertemplate="bound %{x:.3f} ms<extra></extra>",
    )
    return styled(figure, title, "milliseconds of one step", "", barmode="stack", yaxis={"autorange": "reversed"})


def of_rows(rows: Sequence[CompareRow]) -> go.Figure:
    """The bars of a comparison, which carries the terms of each row."""
    return breakdown([(row.scheme, row) for row in rows])


def _equation(name: str, line: TermLine) -> str:
    """What a pressed bar says: the equation, with its numbers where the bill has them, and where it is from."""
    numbers = getattr(line, "substituted", "")
    return (
        f"{name}, {line.owner}, {line.operator}, {line.name}: {line.equation}{f' = {numbers}' if numbers else ''} = "
        f"{line.amount:.4g} {line.unit} on {line.resource}; {line.alone_s * 1e3:.4g} ms alone, "
        f"{line.charged_s * 1e3:.4g} ms of the step. {line.reference}"
    )


def _parts(point: Billed) -> list[tuple[TermLine, float, str]]:
    """Terms worth a bar of their own, and the rest joined by resource."""
    large = [line for line in point.terms if line.charged_s >= _SMALL * point.step_s.mid]
    parts = [(line, line.charged_s, f"<b>{line.owner}: {line.name}</b><br>{line.equation}") for line in large]
    small: dict[str, list[TermLine]] = {}
    for line in point.terms:
        if 0 < line.charged_s < _SMALL * point.step_s.mid:
            small.setdefault(line.resource, []).append(line)
    for resource, lines in small.items():
        total = sum(line.charged_s for line in lines)
        parts.append((lines[0], total, f"<b>{len(lines)} small terms</b> on {resource}"))
    return sorted(parts, key=lambda part: part[0].resource)
