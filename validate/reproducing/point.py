"""A point of a paper: its words as a setup on axes, and the registry of quantities that are computed of one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import Any

import numpy as np

import kvwall.validate.quantities as quantities_folder
from kvwall.hardware.errors import InputError, unknown_name
from kvwall.simulator.auto import settle
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, Estimate, estimate
from kvwall.simulator.inquiry import Inquiry, resolve
from kvwall.simulator.setup import Setup

#: Words of a workload, beside those of an inquiry, with what they are where a row says nothing.
AXES: dict[str, Any] = {
    "batch": 1, "context": 8192, "generated": 0, "phase": "decode", "query_tokens": None,
    "input": None, "output": None, "users": None,
}  # fmt: skip

_INQUIRY = frozenset(field.name for field in fields(Inquiry))
#: Papers measured kernels of their own: class defaults stand for those unless a row names a calibration.
_DEFAULTS: dict[str, Any] = {"calibration": "none"}


@dataclass(frozen=True)
class Point:
    """One question of a paper.

    :ivar words: as the row states them, defaults included
    """

    words: Mapping[str, Any]

    @cached_property
    def setup(self) -> Setup:
        """Model, machine, engine and stack; a free parameter of a scheme is settled by pricing."""
        setup = resolve(Inquiry(**self._inquiry), self.words["phase"]).setup
        axes = self._axes(1.0 if self.words["batch"] == "max" else float(self.words["batch"]))
        return settle(setup, axes)[0]

    @cached_property
    def axes(self) -> Axes:
        """Batch, context and phase; ``batch: max`` is the largest batch that fits."""
        return self._axes(self.batch)

    @cached_property
    def batch(self) -> float:
        """Sequences of the whole deployment."""
        if self.words["batch"] != "max":
            return float(self.words["batch"])
        largest = np.floor(self.capacity.max_concurrency.mid) * self.setup.deployment.dp
        if largest < 1:
            raise InputError(f"batch: max: not one sequence of {self.context:g} tokens fits")
        return float(largest)

    @property
    def context(self) -> float:
        """Tokens per sequence; those of a complete answer where prompt and answer are given."""
        prompt, answer = self.words["input"], self.words["output"]
        return float(self.words["context"] if prompt is None else prompt + (answer or 0))

    @cached_property
    def capacity(self) -> Capacity:
        """Memory of one replica at this context."""
        return Capacity(self.setup, int(self.context))

    @cached_property
    def found(self) -> Estimate:
        """The step, with its lines."""
        return estimate(self.setup, self.axes)

    def at(self, **words: Any) -> Point:
        """The same point with other words."""
        return Point({**self.words, **words})

    @property
    def _inquiry(self) -> dict[str, Any]:
        given = {key: value for key, value in self.words.items() if key in _INQUIRY}
        return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}

    def _axes(self, batch: float) -> Axes:
        query = self.words["query_tokens"]
        return Axes(
            batch,
            self.context,
            self.words["phase"],
            query_tokens=None if query is None else float(query),
            generated=float(self.words["generated"]),
        )


def point_of(*words: Mapping[str, Any]) -> Point:
    """The point that ``words`` mean, later ones over earlier ones; what they ``set`` adds up.

    :raises UnknownNameError: a word that is neither of an inquiry nor of a workload, with the nearest
    """
    merged: dict[str, Any] = {**AXES, **_DEFAULTS}
    for given in words:
        for key in given:
            if key not in AXES and key not in _INQUIRY:
                raise unknown_name("word", key, tuple(sorted({*AXES, *_INQUIRY})), "kvwall reproduce --help")
        overrides = [*merged.get("set", ()), *given.get("set", ())]
        merged |= {**given, "set": overrides}
    return Point(merged)


Quantity = Callable[[Point], float]
_QUANTITIES: dict[str, Quantity] = {}


def quantity(compute: Quantity) -> Quantity:
    """Make ``compute`` known by its name to the rows of papers; it returns base units (bytes, seconds, FLOP)."""
    _QUANTITIES[compute.__name__] = compute
    return compute


@cache
def quantities() -> dict[str, Quantity]:
    """Every quantity by name: the functions of the files of ``validate/quantities``."""
    for module in pkgutil.iter_modules(quantities_folder.__path__):
        importlib.import_module(f"{quantities_folder.__name__}.{module.name}")
    return dict(sorted(_QUANTITIES.items()))


def quantity_of(name: str) -> Quantity:
    """The quantity called ``name``.

    :raises UnknownNameError: no such quantity, with the nearest name
    """
    found = quantities().get(name)
    if found is None:
        raise unknown_name("quantity", name, tuple(quantities()), "validate/quantities")
    return found
