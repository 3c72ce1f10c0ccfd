"""Free parameters that a scheme leaves to the machine: ``auto`` is settled by pricing.

A scheme never sees a device, so where a published system picks a parameter by device speed, the scheme exposes it and
this one optimiser chooses: among the values that fit, the one with the shortest step.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kvwall.hardware.errors import InputError
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, estimate
from kvwall.simulator.scheme import Scheme
from kvwall.simulator.setup import Setup

#: Values tried of a parameter that lies between 0 and 1.
_FRACTIONS = tuple(round(float(x), 2) for x in np.linspace(0.0, 1.0, 51))


def free_parameter(scheme: Scheme) -> str | None:
    """The option of ``scheme`` that stands at ``auto``."""
    return next((key for key, value in scheme.model_dump().items() if value == "auto"), None)


def settle(setup: Setup, axes: Axes) -> tuple[Setup, tuple[str, ...]]:
    """``setup`` with every ``auto`` replaced by the value of the shortest step that fits the largest point of ``axes``.

    Where no value fits, the largest is taken, which moves the most off the device, and the note says so.

    :returns: the setup, and a note for each value that was chosen
    :raises InputError: more than one free parameter
    """
    free = [(scheme, key) for scheme in setup.stack.schemes if (key := free_parameter(scheme))]
    if not free:
        return setup, ()
    if len(free) > 1:
        raise InputError(f"--scheme {setup.stack.text}: only one parameter may be auto")
    scheme, key = free[0]
    largest = replace(axes, batch=float(np.max(axes.batch)), context=float(np.max(axes.context)))
    best: tuple[float, Setup, float] | None = None
    for value in _FRACTIONS:
        tried = _with(setup, scheme, key, value)
        if not bool(Capacity(tried, 1).fits(largest.batch, largest.context)):
            continue
        seconds = float(estimate(tried, largest, keep_lines=False).step_s.mid)
        if best is None or seconds < best[0]:
            best = (seconds, tried, value)
    if best is None:
        note = (
            f"{scheme.name}: no {key} fits {largest.batch:g} x {largest.context:g} tokens; priced at {_FRACTIONS[-1]:g}"
        )
        return _with(setup, scheme, key, _FRACTIONS[-1]), (note,)
    return best[1], (f"{scheme.name}: {key}=auto settled at {best[2]:g} (shortest step that fits the largest point)",)


def _with(setup: Setup, scheme: Scheme, key: str, value: float) -> Setup:
    settled = scheme.model_copy(update={key: value})
    schemes = tuple(settled if s is scheme else s for s in setup.stack.schemes)
    return replace(setup, stack=replace(setup.stack, schemes=schemes))
