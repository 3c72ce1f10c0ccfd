"""Free parameters that a scheme leaves to the machine: ``auto`` is settled by pricing.

A scheme never sees a device, so where a published system picks a parameter by device speed, the scheme exposes it and
this one optimiser chooses: among the values that fit, the one with the shortest step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from pydantic import ValidationError

from kvwall.hardware.errors import InputError
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, estimate
from kvwall.simulator.scheme import Scheme
from kvwall.simulator.setup import Setup

#: Values tried of a parameter that is free alone.
_VALUES = 51
#: Of several together: values of each on the first grid, how often it is halved around the best, and how many may be.
_COARSE, _HALVINGS, _MOST = 5, 4, 3


@dataclass(frozen=True)
class Free:
    """An option that stands at ``auto``, with its least and its most radical value."""

    scheme: Scheme
    key: str

    @property
    def ends(self) -> tuple[float, float]:
        """The value that changes least, and the one that moves the most off the device."""
        return self.scheme.searched.get(self.key, (0.0, 1.0))

    def value(self, part: float) -> float:
        """The value at ``part`` of the way from the least to the most radical."""
        least, most = self.ends
        return round(least + part * (most - least), 4)


@dataclass(frozen=True)
class _Tried:
    """A point of the search, as parts of the way of each parameter, and its setup; 0 seconds unless it was priced."""

    parts: tuple[float, ...]
    setup: Setup
    seconds: float = 0.0


def free_parameter(scheme: Scheme) -> str | None:
    """The first option of ``scheme`` that stands at ``auto``."""
    return next((key for key, value in scheme.model_dump().items() if value == "auto"), None)


def free_parameters(setup: Setup) -> list[Free]:
    """All options of the stack that stand at ``auto``."""
    return [
        Free(scheme, key)
        for scheme in setup.stack.schemes
        for key, value in scheme.model_dump().items()
        if value == "auto"
    ]


def settle(setup: Setup, axes: Axes) -> tuple[Setup, tuple[str, ...]]:
    """``setup`` with every ``auto`` replaced by the value of the shortest step that fits the largest point of ``axes``.

    One parameter is found among 51 values; up to three together on a grid that is halved around its best point. Where
    no value fits, the most radical is taken, and the note says so.

    :returns: the setup, and a note for each value that was chosen
    :raises InputError: too many free parameters
    """
    free = free_parameters(setup)
    if not free:
        return setup, ()
    if len(free) > _MOST:
        raise InputError(f"--scheme {setup.stack.text}: only {_MOST} parameters may be auto")
    largest = replace(axes, batch=float(np.max(axes.batch)), context=float(np.max(axes.context)))
    best = _alone(setup, free, largest) if len(free) == 1 else _together(setup, free, largest)
    if best is None:
        point = f"{largest.batch:g} x {largest.context:g} tokens"
        radical = tuple(1.0 for _ in free)
        notes = [f"{f.scheme.name}: no {f.key} fits {point}; priced at {f.value(1.0):g}" for f in free]
        return _with(setup, free, radical) or setup, tuple(notes)
    return best.setup, tuple(
        f"{f.scheme.name}: {f.key}=auto settled at {f.value(part):g} (shortest step that fits the largest point)"
        for f, part in zip(free, best.parts, strict=True)
    )


def _alone(setup: Setup, free: list[Free], largest: Axes) -> _Tried | None:
    return _best(setup, free, largest, (((float(x),)) for x in np.linspace(0.0, 1.0, _VALUES)))


def _together(setup: Setup, free: list[Free], largest: Axes) -> _Tried | None:
    """The best point of a coarse grid, then of ever finer ones around it."""
    grid = np.linspace(0.0, 1.0, _COARSE)
    best = _best(setup, free, largest, (tuple(map(float, parts)) for parts in product(grid, repeat=len(free))))
    reach = 1.0 / (_COARSE - 1)
    for _ in range(_HALVINGS if best else 0):
        reach /= 2
        around = [sorted({max(0.0, p - reach), p, min(1.0, p + reach)}) for p in best.parts] if best else []
        best = _best(setup, free, largest, product(*around))
    return best


def _best(setup: Setup, free: list[Free], largest: Axes, points: Iterator[tuple[float, ...]]) -> _Tried | None:
    """The point of the shortest step among those that fit; the first of several."""
    best: _Tried | None = None
    for parts in points:
        tried = _with(setup, free, parts)
        if tried is None or not bool(Capacity(tried, 1).fits(largest.batch, largest.context)):
            continue
        seconds = float(estimate(tried, largest, keep_lines=False).step_s.mid)
        if best is None or seconds < best.seconds:
            best = _Tried(parts, tried, seconds)
    return best


def _with(setup: Setup, free: list[Free], parts: tuple[float, ...]) -> Setup | None:
    """``setup`` with the values at ``parts``; ``None`` where a scheme does not allow them together."""
    schemes = []
    for scheme in setup.stack.schemes:
        values = {f.key: f.value(part) for f, part in zip(free, parts, strict=True) if f.scheme is scheme}
        try:
            given = {**scheme.model_dump(exclude_unset=True), **values}
            schemes.append(type(scheme).model_validate(given) if values else scheme)
        except ValidationError:
            return None
    return replace(setup, stack=replace(setup.stack, schemes=tuple(schemes)))
