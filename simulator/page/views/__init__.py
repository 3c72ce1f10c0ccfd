"""The views of the page: figures and a line of text from controls. They compute nothing: answers and estimates do."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from kvwall.simulator.page.controls import Controls
from kvwall.simulator.page.views.base import View, comparison, setups
from kvwall.simulator.page.views.break_even import break_even_view
from kvwall.simulator.page.views.capacity import capacity_view
from kvwall.simulator.page.views.compare import compare_view
from kvwall.simulator.page.views.explain import explain_view
from kvwall.simulator.page.views.plans import pareto_view, plan_view
from kvwall.simulator.page.views.sensitivity import sensitivity_view

VIEWS: dict[str, Callable[[Controls], View]] = {
    "Plan": plan_view,
    "Compare": compare_view,
    "Explain": explain_view,
    "Capacity": capacity_view,
    "Break-even": break_even_view,
    "Pareto": pareto_view,
    "Sensitivity": sensitivity_view,
}


def all_views() -> dict[str, Callable[[Controls], View]]:
    """The views of this package and those of the entry-point group ``kvwall.views``."""
    return VIEWS | {entry.name: entry.load() for entry in entry_points(group="kvwall.views")}


__all__ = ["VIEWS", "View", "all_views", "comparison", "setups"]
