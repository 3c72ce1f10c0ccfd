"""Which stack is fastest where."""

from __future__ import annotations

import numpy as np

from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, estimate
from kvwall.simulator.figures.maps import break_even
from kvwall.simulator.page.controls import Controls
from kvwall.simulator.page.views.base import BATCHES, CONTEXTS, View, setups


def break_even_view(controls: Controls) -> View:
    """A map over batch and context of the fastest stack that fits."""
    found, refused = setups(controls)
    seconds, fits = {}, {}
    shape = (BATCHES.size, CONTEXTS.size)
    for stack, setup in found.items():
        made = estimate(setup, Axes(BATCHES[:, None], CONTEXTS[None, :]), keep_lines=False)
        seconds[stack] = np.broadcast_to(made.step_s.mid, shape)
        fits[stack] = np.broadcast_to(Capacity(setup, 1).fits(BATCHES[:, None], CONTEXTS[None, :]), shape)
    figure = break_even(seconds, fits, BATCHES, CONTEXTS)
    says = "The fastest stack that fits, at each batch and context; hover for its lead over the next."
    return View(" ".join([says, *refused.values()]), (figure,), controls.command("compare"))
