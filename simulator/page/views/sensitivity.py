"""What the step and the capacity hang on."""

from __future__ import annotations

from kvwall.simulator.estimate import Axes
from kvwall.simulator.figures.tornado import tornado
from kvwall.simulator.page.controls import Controls
from kvwall.simulator.page.views.base import View, setups
from kvwall.simulator.sensitivity import capacity_sensitivity, scaled, step_sensitivity


def sensitivity_view(controls: Controls) -> View:
    """Tornadoes of the first stack: its step, and how many sequences fit."""
    found, _ = setups(controls)
    stack, setup = next(iter(found.items()))
    axes = Axes(float(controls.tokens("batch")), float(controls.tokens("context")))
    step = scaled(step_sensitivity(setup, axes), 1e3, "ms")
    room = capacity_sensitivity(setup, controls.tokens("context"))
    largest, held = step.swings[0], room.swings[0]
    says = (
        f"Of {stack}: {largest.total:.0%} of the uncertainty of a step is {largest.factor.name}; "
        f"{held.total:.0%} of that of the capacity is {held.factor.name}."
    )
    return View(says, (tornado(step), tornado(room)), controls.command("explain"))
