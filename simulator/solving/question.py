"""Inverse questions as a margin over the values of an unknown: targets that are just met, two schemes that draw."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kvwall.hardware.errors import InputError
from kvwall.simulator.estimate import Axes, Estimate, estimate
from kvwall.simulator.inquiry import resolve
from kvwall.simulator.prices import Level
from kvwall.simulator.solving.roots import Scan, scan
from kvwall.simulator.solving.targets import MEASURES, MEMORY, Target, memory_margin
from kvwall.simulator.solving.unknowns import VECTORISED, Asked, Unknown, grid_of
from kvwall.simulator.traffic import Array

#: Values at which an unknown is looked at before roots are refined; a narrower pair of roots would be missed.
_GRID = {True: 193, False: 49}
#: The least difference of two times that is told as one.
_FLAT = 1e-6
_EQUAL = "equal step times"


class Question(ABC):
    """A margin over the values of an unknown; what both kinds of question share."""

    def __init__(self, asked: Asked, unknown: Unknown) -> None:
        self.asked, self.unknown = asked, unknown

    def scan(self, level: Level) -> Scan:
        """The margin on the grid, and its roots."""
        values = grid_of(self.unknown, _GRID[self.unknown.name in VECTORISED])
        margins = self._margins(values, level)
        if np.all(np.isnan(margins)):
            raise InputError(f"--for {self.unknown.name}: no value from {values[0]:g} to {values[-1]:g} can be priced")

        def margin(value: float) -> float:
            return float(self._margins(np.array([value]), level)[0])

        # Counts of GPUs are those of the grid: between them lie some that no split uses.
        return scan(values, margins, None if self.unknown.name == "gpus" else margin, self.unknown.whole)

    def _margins(self, values: Array, level: Level) -> Array:
        """Margins of all values at once where the model takes an array, else one by one."""
        if self.unknown.name in VECTORISED:
            return self.margin(self.place(values), level)
        made, refused = np.full(values.size, np.nan), None
        for i, value in enumerate(values):
            try:
                made[i] = _one(self.margin(self.place(np.float64(value)), level))
            except InputError as error:  # no split of so many GPUs, a budget below the scheme's own window
                refused = refused or error
        if refused is not None and np.all(np.isnan(made)):
            raise refused
        return made

    def place(self, value: Any) -> Asked:
        """The question with ``value`` in place of its unknown."""
        return self.unknown.put(self.asked, value)

    @abstractmethod
    def margin(self, asked: Asked, level: Level) -> Array:
        """What is asked holds where this is at or below 0."""

    @abstractmethod
    def answer(self, found: Scan) -> float | None:
        """The value that is asked for; ``None`` where there is none."""

    @abstractmethod
    def binding(self, value: float) -> str:
        """What is just met at ``value``."""

    @abstractmethod
    def met(self, rises: bool) -> str:
        """What a crossing says of the values below it."""

    @abstractmethod
    def never(self, found: Scan) -> str:
        """Why there is no answer."""

    @abstractmethod
    def warnings(self, value: float) -> tuple[str, ...]:
        """What to know before trusting the answer ``value``."""

    @abstractmethod
    def checked(self, value: float) -> dict[str, float]:
        """The measures of the question at ``value``, put back into the model."""

    def at(self, value: float) -> Estimate:
        """The estimate at one value, with its bill."""
        return _estimate(self.place(np.float64(value)))

    def bound_by(self, value: float) -> str:
        """The resource that is charged most of the step at ``value``."""
        charged: dict[str, float] = {}
        for line in self.at(value).lines:
            charged[line.term.resource] = charged.get(line.term.resource, 0.0) + _one(line.charged_s)
        return max(charged, key=lambda resource: charged[resource])


class TargetsMet(Question):
    """Where all targets are met and the cache fits."""

    def __init__(self, asked: Asked, unknown: Unknown, targets: tuple[Target, ...]) -> None:
        super().__init__(asked, unknown)
        self.targets = targets

    def margins(self, asked: Asked, level: Level) -> dict[str, Array]:
        """The margin of each target, and of memory."""
        found = _estimate(asked, keep_lines=False)
        by_target = {target.text: target.margin(found, level) for target in self.targets}
        return {**by_target, MEMORY: memory_margin(found.setup, found.axes)}

    def margin(self, asked: Asked, level: Level) -> Array:
        return np.asarray(np.max(np.broadcast_arrays(*self.margins(asked, level).values()), axis=0))

    def met(self, rises: bool) -> str:
        return "below" if rises else "above"

    def answer(self, found: Scan) -> float | None:
        """The wanted end of what is met: a root, or the end of the range."""
        wanted = [c.value for c in found.crossings if c.rises == self.unknown.wants_most]
        candidates = [*found.met, *wanted]
        if not candidates:
            return None
        return max(candidates) if self.unknown.wants_most else min(candidates)

    def binding(self, value: float) -> str:
        """The target that has least to spare at ``value``."""
        margins = self.margins(self.place(np.float64(value)), "mid")
        return max(margins, key=lambda name: _one(margins[name]))

    def never(self, found: Scan) -> str:
        value, _ = found.nearest
        margins = self.margins(self.place(np.float64(value)), "mid")
        missed = [name for name, margin in margins.items() if _one(margin) > 0]
        told = ", ".join(f"{key} {number:.4g}" for key, number in self.checked(value).items())
        nearest = f"nearest at {self.unknown.name} {value:g} {self.unknown.unit}: {told}"
        return f"{' and '.join(missed)} cannot be met ({nearest}; bound by {self.bound_by(value)})"

    def warnings(self, value: float) -> tuple[str, ...]:
        return ()

    def checked(self, value: float) -> dict[str, float]:
        names, at = dict.fromkeys([target.measure for target in self.targets] or ["kv_gib"]), self.at(value)
        return {name: _one(MEASURES[name](at, "mid")) for name in names}


class BreakEven(Question):
    """Where two schemes take equally long."""

    def __init__(self, asked: Asked, unknown: Unknown, stacks: Sequence[str]) -> None:
        super().__init__(asked, unknown)
        self.stacks = stacks
        if unknown.name in {"price", "utilization"}:
            raise InputError(f"--for {unknown.name} --between: both schemes pay the same price")

    def _seconds(self, asked: Asked, stack: str, level: Level) -> Array:
        placed = _with_stack(asked, stack)
        return np.asarray(getattr(_estimate(placed, keep_lines=False).step_s, level))

    def place(self, value: Any) -> Asked:
        return self.unknown.put(replace(self.asked, inquiry=replace(self.asked.inquiry, scheme=self.stacks[0])), value)

    def margin(self, asked: Asked, level: Level) -> Array:
        # Both ends of the band belong to one state of the machine: the ratio is taken at one level.
        return np.asarray(
            np.log(self._seconds(asked, asked.inquiry.scheme, level) / self._seconds(asked, self.stacks[1], level))
        )

    def answer(self, found: Scan) -> float | None:
        """The first break-even."""
        return found.crossings[0].value if found.crossings else None

    def binding(self, value: float) -> str:
        return _EQUAL

    def met(self, rises: bool) -> str:
        first, second = self.stacks
        return f"{first} is faster up to here" if rises else f"{second} is faster below, {first} from here on"

    def never(self, found: Scan) -> str:
        value, margin = found.nearest
        first, second = self.stacks
        if found.widest < _FLAT:
            return f"{first} and {second} take equally long everywhere"
        faster, slower = (first, second) if found.met else (second, first)
        at = f"{self.unknown.name} {value:g} {self.unknown.unit}"
        if abs(margin) < _FLAT:
            return f"{faster} is never slower than {slower} (equal at {at})"
        by = f"{np.expm1(abs(margin)) * 100:.2g} %"
        return f"{faster} is faster than {slower} everywhere (nearest, by {by}, at {at})"

    def warnings(self, value: float) -> tuple[str, ...]:
        """Times are equal there even where memory ends before."""
        asked = self.place(np.float64(value))
        setups = {stack: resolve(_with_stack(asked, stack).inquiry).setup for stack in self._both(asked)}
        axes = Axes(asked.batch, asked.context)
        lacking = [stack for stack, setup in setups.items() if _one(memory_margin(setup, axes)) > 0]
        at = f"{self.unknown.name} {value:g} {self.unknown.unit}"
        return tuple(f"the cache of {stack} does not fit at {at}" for stack in lacking)

    def _both(self, asked: Asked) -> tuple[str, str]:
        return asked.inquiry.scheme, self.stacks[1]

    def checked(self, value: float) -> dict[str, float]:
        asked = self.place(np.float64(value))
        stacks = self._both(asked)
        return {f"step_ms of {stack}": _one(self._seconds(asked, stack, "mid")) * 1e3 for stack in stacks}


def _with_stack(asked: Asked, stack: str) -> Asked:
    return replace(asked, inquiry=replace(asked.inquiry, scheme=stack, kv_dtype=None))


def _estimate(asked: Asked, keep_lines: bool = True) -> Estimate:
    setup = resolve(asked.inquiry).setup
    return estimate(setup, Axes(asked.batch, asked.context), keep_lines)


def _one(value: Any) -> float:
    """The only cell of ``value``."""
    return float(np.ravel(value)[0])
