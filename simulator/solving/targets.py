"""Targets of an inverse question: ``tpot_ms<=50,tokens_per_s>=2000`` as margins that are met at or below zero."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kvwall.hardware.errors import InputError, unknown_name
from kvwall.hardware.validation import shortened
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, Estimate, estimate
from kvwall.simulator.prices import Level
from kvwall.simulator.setup import Setup
from kvwall.simulator.traffic import Array, Numeric

_TARGET = re.compile(r"\s*([a-z_]+)\s*(<=|>=)\s*([0-9.eE+-]+)\s*$")

Measure = Callable[[Estimate, Level], Numeric]


def _step_s(found: Estimate, level: Level) -> Numeric:
    seconds: Numeric = getattr(found.step_s, level)
    return seconds


def _tpot_ms(found: Estimate, level: Level) -> Numeric:
    """Milliseconds of a step per token that it yields a sequence."""
    return _step_s(found, level) * 1e3 * np.asarray(found.axes.batch) / found.tokens


def _ttft_ms(found: Estimate, level: Level) -> Numeric:
    """Milliseconds of the prefill of one prompt as long as the context, alone."""
    axes = Axes(np.float64(found.setup.deployment.dp), found.axes.context, "prefill")
    return _step_s(estimate(found.setup, axes, keep_lines=False), level) * 1e3


def _usd(found: Estimate, level: Level) -> Numeric:
    hourly = found.setup.usd_per_hour
    if hourly is None:
        raise InputError("--target usd_per_million_tokens: no price is known; give --price-usd-per-gpu-hour")
    return hourly / 3600 * _step_s(found, level) / found.tokens * 1e6 / found.setup.paid_utilization


#: What a target may be about; all but the last two at the level of a band that is asked for.
MEASURES: dict[str, Measure] = {
    "tpot_ms": _tpot_ms,
    "ttft_ms": _ttft_ms,
    "step_ms": lambda found, level: _step_s(found, level) * 1e3,
    "tokens_per_s": lambda found, level: found.tokens / _step_s(found, level),
    "tokens_per_s_per_user": lambda found, level: 1e3 / _tpot_ms(found, level),
    "tokens_per_s_per_gpu": lambda found, level: found.tokens / _step_s(found, level) / found.setup.deployment.gpus,
    "usd_per_million_tokens": _usd,
    "joules_per_token": lambda found, level: found.joules / found.tokens,
    "kv_gib": lambda found, level: found.kv_stored_bytes / 2.0**30,
}

#: The name of the constraint that memory sets.
MEMORY = "memory"


@dataclass(frozen=True)
class Target:
    """One bound on a measure.

    :ivar at_most: whether the measure must lie at or below ``limit``, or at or above
    """

    measure: str
    at_most: bool
    limit: float

    @property
    def text(self) -> str:
        """As it is written."""
        return f"{self.measure}{'<=' if self.at_most else '>='}{self.limit:g}"

    def margin(self, found: Estimate, level: Level) -> Array:
        """``log(value / limit)``, with its sign turned for a lower bound: met at or below 0."""
        ratio = np.log(np.maximum(MEASURES[self.measure](found, level), 1e-300) / self.limit)
        return np.asarray(ratio if self.at_most else -ratio)


def parse_targets(text: str) -> tuple[Target, ...]:
    """``"tpot_ms<=50,tokens_per_s>=2000"`` as targets; ``"memory"``, a target always, adds none.

    :raises InputError: not MEASURE<=NUMBER or MEASURE>=NUMBER
    :raises UnknownNameError: no such measure, with the nearest name
    """
    targets = []
    for part in text.split(","):
        if part.strip() == MEMORY:
            continue
        found = _TARGET.match(part)
        value = _number(found[3]) if found else None
        if found is None or value is None:
            raise InputError(f"--target {shortened(part.strip())}: write MEASURE<=NUMBER, as in tpot_ms<=50, or memory")
        if found[1] not in MEASURES:
            raise unknown_name("measure of --target", found[1], tuple(MEASURES))
        if not 0 < value < np.inf:
            raise InputError(f"--target {part.strip()}: the limit must be above 0")
        targets.append(Target(found[1], found[2] == "<=", value))
    return tuple(targets)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def memory_margin(setup: Setup, axes: Axes) -> Array:
    """``log(sequences of a rank / sequences that it holds)``: at or below 0 where the batch fits."""
    d = setup.deployment
    context = np.asarray(axes.context, dtype=np.float64)
    capacity = Capacity(setup, int(np.max(context)))
    per_rank = np.ceil(np.asarray(axes.batch, dtype=np.float64) / (d.dp * d.attn_dp))
    if setup.overrides.kv_tokens is not None:
        held: Array = np.asarray(setup.overrides.kv_tokens / context / d.attn_dp)
    else:
        held = np.asarray(capacity.held_beside_prompt(context, context))
        held = held if capacity.pool.mid > 0 or setup.overrides.kv_bytes is not None else np.zeros(held.shape)
    return np.log(per_rank / np.maximum(held, 1e-9))
