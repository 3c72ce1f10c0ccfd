"""One step opened up: every term with its equation and numbers, and every operator under the roofline."""

from __future__ import annotations

from kvwall.hardware.errors import ForbiddenError, InputError
from kvwall.simulator.answers.explain import ExplainAnswer, answer_explain
from kvwall.simulator.figures.breakdown import breakdown
from kvwall.simulator.figures.roofline import roofline
from kvwall.simulator.page.controls import Controls
from kvwall.simulator.page.views.base import View, resolved


def explain_view(controls: Controls) -> View:
    """Terms as bars, which say their equations when pressed, and operators under the roofline."""
    answers: dict[str, ExplainAnswer] = {}
    refused: list[str] = []
    batch, context = controls.tokens("batch"), controls.tokens("context")
    for stack in controls.stacks:
        try:
            answers[stack] = answer_explain(resolved(controls, stack), batch, context)
        except ForbiddenError as error:
            refused.append(str(error))
    if not answers:
        raise InputError("; ".join(refused))
    told = "; ".join(f"{stack}: bound by {answer.bound_by}" for stack, answer in answers.items())
    points = list(answers.items())
    setup = resolved(controls, points[0][0]).setup
    figures = (breakdown(points), roofline(points, setup.system.device, points[0][1].gpus))
    says = " ".join([f"{told}. Press a bar to see its equation with numbers.", *refused])
    return View(says, figures, controls.command("explain"))
