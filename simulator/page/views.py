"""The views of the page: figures and a line of text from controls. They compute nothing: answers and estimates do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points

import numpy as np
import plotly.graph_objects as go

from kvwall.hardware.errors import ForbiddenError, InputError
from kvwall.simulator.answers.compare import CompareAnswer, CompareRow, RefusedRow, answer_compare
from kvwall.simulator.answers.fit import answer_fit
from kvwall.simulator.answers.plan import plan
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, Estimate, estimate
from kvwall.simulator.figures.breakdown import of_rows
from kvwall.simulator.figures.curves import Measure, curves
from kvwall.simulator.figures.maps import break_even, users_that_fit
from kvwall.simulator.figures.memory import memory
from kvwall.simulator.figures.pareto import pareto
from kvwall.simulator.figures.roofline import roofline
from kvwall.simulator.figures.tornado import tornado
from kvwall.simulator.inquiry import resolve
from kvwall.simulator.page.controls import Controls
from kvwall.simulator.sensitivity import capacity_sensitivity, scaled, step_sensitivity
from kvwall.simulator.setup import Setup
from kvwall.simulator.traffic import Array

#: Contexts and batches of curves and maps.
_CONTEXTS = np.unique(np.geomspace(512, 2**17, 49).round())
_BATCHES = np.unique(np.geomspace(1, 512, 37).round())
_USERS_AT = np.array([2048.0, 8192.0, 32768.0, 131072.0])


@dataclass(frozen=True)
class View:
    """What one view shows.

    :ivar says: the answer in words, first
    :ivar command: the ``kvwall`` line that gives the same numbers
    """

    says: str
    figures: tuple[go.Figure, ...]
    command: str


@lru_cache(maxsize=64)
def setups(controls: Controls) -> tuple[dict[str, Setup], dict[str, str]]:
    """The setup of each stack, and the refusals of those that the model forbids."""
    found, refused = {}, {}
    for stack in controls.stacks:
        try:
            found[stack] = resolve(controls.inquiry(stack)).setup
        except ForbiddenError as error:
            refused[stack] = str(error)
    if not found:
        raise InputError("; ".join(refused.values()))
    return found, refused


@lru_cache(maxsize=64)
def comparison(controls: Controls) -> CompareAnswer:
    """The stacks at the point of the controls, with their bills."""
    resolved = resolve(controls.inquiry("none"))
    return answer_compare(
        resolved, controls.stacks, [controls.tokens("batch")], [controls.tokens("context")], terms=True
    )


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
    figures = [of_rows(rows), *(_curve(controls, "context", measure) for measure in ("step", "tokens", "cost"))]
    figures.append(_curve(controls, "batch", "tokens"))
    return View(" ".join([says, *refused]), tuple(figures), controls.command("compare"))


def explain_view(controls: Controls) -> View:
    """Operators under the roofline."""
    answer = comparison(controls)
    rows = [row for row in answer.rows if isinstance(row, CompareRow)]
    device = resolve(controls.inquiry("none")).setup.system.device
    told = "; ".join(f"{row.scheme}: bound by {row.bound_by}" for row in rows)
    figure = roofline([(row.scheme, row) for row in rows], device, answer.gpus)
    return View(told, (of_rows(rows), figure), controls.command("explain"))


def capacity_view(controls: Controls) -> View:
    """How memory is spent, and how many users fit."""
    found, refused = setups(controls)
    first = next(iter(found))
    answer = answer_fit(resolve(controls.inquiry(first)), controls.tokens("context"), controls.tokens("users"))
    held = {}
    for stack, setup in found.items():
        room = Capacity(setup, 1)
        held[stack] = np.asarray(room.held(room.kv.mid, _USERS_AT)) * setup.deployment.dp * setup.deployment.attn_dp
    figures = (memory(answer), users_that_fit(held, _USERS_AT))
    return View(" ".join([answer.reason, *refused.values()]), figures, controls.command("fit"))


def break_even_view(controls: Controls) -> View:
    """Which stack is fastest where."""
    found, refused = setups(controls)
    seconds, fits = {}, {}
    shape = (_BATCHES.size, _CONTEXTS.size)
    for stack, setup in found.items():
        made = estimate(setup, Axes(_BATCHES[:, None], _CONTEXTS[None, :]), keep_lines=False)
        seconds[stack] = np.broadcast_to(made.step_s.mid, shape)
        fits[stack] = np.broadcast_to(Capacity(setup, 1).fits(_BATCHES[:, None], _CONTEXTS[None, :]), shape)
    figure = break_even(seconds, fits, _BATCHES, _CONTEXTS)
    says = "The fastest stack that fits, at each batch and context; hover for its lead over the next."
    return View(" ".join([says, *refused.values()]), (figure,), controls.command("compare"))


def plan_view(controls: Controls) -> View:
    """Cost against latency of every deployment."""
    answer = plan(
        controls.model,
        on=controls.on,
        input=controls.tokens("input"),
        output=controls.tokens("output"),
        users=controls.tokens("users"),
        ttft_ms=float(controls.ttft_ms) if controls.ttft_ms else None,
        tpot_ms=float(controls.tpot_ms) if controls.tpot_ms else None,
        schemes=controls.schemes,
        weights=controls.weights or None,
        engine=controls.engine,
        set=controls.inquiry("none").set,
        price_usd_per_gpu_hour=controls.dollars,
        top=None,
    )
    if not answer.candidates:
        return View(answer.says_no or answer.reason, (), controls.command("plan"))
    best = answer.candidates[0]
    cost = "" if best.usd_per_million_tokens is None else f", {best.usd_per_million_tokens:.3g} USD per million tokens"
    says = (
        f"Best for {answer.objective}: {best.scheme}, {best.weights} weights, tp{best.tp} pp{best.pp} dp{best.dp}, "
        f"batch {best.batch:,}: {best.tpot_s.mid * 1e3:.1f} ms a token, the first after {best.ttft_s.mid:.2f} s{cost}."
    )
    return View(says, (pareto(answer),), controls.command("plan"))


def sensitivity_view(controls: Controls) -> View:
    """What the step and the capacity hang on."""
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


VIEWS: dict[str, Callable[[Controls], View]] = {
    "Plan": plan_view,
    "Compare": compare_view,
    "Explain": explain_view,
    "Capacity": capacity_view,
    "Break-even": break_even_view,
    "Sensitivity": sensitivity_view,
}


def all_views() -> dict[str, Callable[[Controls], View]]:
    """The views of this package and those of the entry-point group ``kvwall.views``."""
    return VIEWS | {entry.name: entry.load() for entry in entry_points(group="kvwall.views")}


def _curve(controls: Controls, axis: str, measure: Measure) -> go.Figure:
    found, _ = setups(controls)
    batch, context = np.float64(controls.tokens("batch")), np.float64(controls.tokens("context"))
    made: dict[str, Estimate] = {}
    fits: dict[str, Array] = {}
    for stack, setup in found.items():
        axes = Axes(batch, _CONTEXTS) if axis == "context" else Axes(_BATCHES, context)
        made[stack] = estimate(setup, axes, keep_lines=False)
        size = _CONTEXTS.size if axis == "context" else _BATCHES.size
        fits[stack] = np.broadcast_to(Capacity(setup, 1).fits(axes.batch, axes.context), (size,))
    return curves(made, "context" if axis == "context" else "batch", measure, fits)  # type: ignore[arg-type]
