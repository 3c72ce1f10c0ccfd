"""How memory is spent, and how many users fit."""

from __future__ import annotations

import numpy as np

from kvwall.simulator.answers.fit import answer_fit
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.figures.maps import users_that_fit
from kvwall.simulator.figures.memory import memory
from kvwall.simulator.page.controls import Controls
from kvwall.simulator.page.views.base import View, resolved, setups

_CONTEXTS = np.array([2048.0, 8192.0, 32768.0, 131072.0])


def capacity_view(controls: Controls) -> View:
    """The memory of one GPU under the first stack, and the users that fit under each."""
    found, refused = setups(controls)
    first = next(iter(found))
    answer = answer_fit(resolved(controls, first), controls.tokens("context"), controls.tokens("users"))
    held = {}
    for stack, setup in found.items():
        room = Capacity(setup, 1)
        held[stack] = np.asarray(room.held(room.kv.mid, _CONTEXTS)) * setup.deployment.dp * setup.deployment.attn_dp
    figures = (memory(answer), users_that_fit(held, _CONTEXTS))
    return View(" ".join([answer.reason, *refused.values()]), figures, controls.command("fit"))
