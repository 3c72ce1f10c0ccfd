"""What every view is made of: figures and a line of text, from answers and estimates that are made once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from kvwall.hardware.errors import ForbiddenError, InputError
from kvwall.simulator.answers.compare import CompareAnswer, answer_compare
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, Estimate, estimate
from kvwall.simulator.figures.curves import Flags
from kvwall.simulator.inquiry import Resolved, resolve
from kvwall.simulator.page.controls import Controls
from kvwall.simulator.setup import Setup

#: Contexts and batches of maps; curves take every other one.
CONTEXTS = np.unique(np.geomspace(512, 2**17, 49).round())
BATCHES = np.unique(np.geomspace(1, 512, 37).round())


@dataclass(frozen=True)
class View:
    """What one view shows.

    :ivar says: the answer in words, first
    :ivar command: the ``kvwall`` line that gives the same numbers
    """

    says: str
    figures: tuple[go.Figure, ...]
    command: str


@lru_cache(maxsize=256)
def resolved(controls: Controls, stack: str) -> Resolved:
    """The question about one stack, resolved.

    :raises ForbiddenError: the model forbids it
    """
    return resolve(controls.inquiry(stack))


@lru_cache(maxsize=64)
def setups(controls: Controls) -> tuple[dict[str, Setup], dict[str, str]]:
    """The setup of each stack, and the refusals of those that the model forbids."""
    found, refused = {}, {}
    for stack in controls.stacks:
        try:
            found[stack] = resolved(controls, stack).setup
        except ForbiddenError as error:
            refused[stack] = str(error)
    if not found:
        raise InputError("; ".join(refused.values()))
    return found, refused


@lru_cache(maxsize=64)
def comparison(controls: Controls) -> CompareAnswer:
    """The stacks at the point of the controls, with their bills."""
    batch, context = [controls.tokens("batch")], [controls.tokens("context")]
    return answer_compare(resolved(controls, "none"), controls.stacks, batch, context, terms=True)


@lru_cache(maxsize=64)
def along(controls: Controls, axis: Literal["context", "batch"]) -> tuple[dict[str, Estimate], dict[str, Flags]]:
    """Each stack along one axis through the point of the controls, and where it fits."""
    found, _ = setups(controls)
    values = (CONTEXTS if axis == "context" else BATCHES)[::2]
    other = np.float64(controls.tokens("batch" if axis == "context" else "context"))
    axes = Axes(other, values) if axis == "context" else Axes(values, other)
    made = {stack: estimate(setup, axes, keep_lines=False) for stack, setup in found.items()}
    fits = {
        stack: np.broadcast_to(Capacity(setup, 1).fits(axes.batch, axes.context).astype(np.bool_), (values.size,))
        for stack, setup in found.items()
    }
    return made, fits
