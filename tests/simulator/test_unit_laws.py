"""Laws of units: seconds and bytes may be counted in other units, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from kvwall.hardware.device import Peaks
from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.estimate import Axes, Estimate, estimate
from kvwall.simulator.prices import Prices
from kvwall.simulator.roofline import price
from kvwall.simulator.setup import Setup
from kvwall.simulator.stack import parse_stack, scheme_names
from kvwall.simulator.traffic import UNITS, Operator, Term, Traffic
from kvwall.workloads.model_lookup import find_model

STACKS = (*scheme_names(), "kivi:kernel=public", "offload:attend=host", "offload:to=ssd", "palu+int4+quest+offload")
SECONDS = ("ideal_s", "low", "mid", "high")
SAME = (
    "weights_read_bytes", "kv_stored_bytes", "kv_read_bytes", "kv_written_bytes", "host_link_bytes", "joules",
    "usd_per_million_tokens",
)  # fmt: skip


#: Kinds of model, of which a scheme is tried on the first that it serves.
MODELS = ("llama-3.1-8b", "qwen3-30b-a3b", "deepseek-v3", "infinity-2b")


def model_for(scheme: str) -> str:
    def serves(model: str) -> bool:
        try:
            parse_stack(scheme).check(find_model(model)[1])
        except ForbiddenError:
            return False
        return True

    return next(model for model in MODELS if serves(model))


def values(found: Estimate) -> dict[str, Any]:
    band = found.step_s
    seconds = {"ideal_s": found.ideal_s, "low": band.low, "mid": band.mid, "high": band.high}
    return seconds | {name: getattr(found, name) for name in SAME}


def in_other_seconds(thing: Any, factor: float, scale: float = 1.0) -> Any:
    """``thing`` with every time multiplied, every rate, power and hourly price divided by ``factor``."""
    if isinstance(thing, Peaks):
        scale = 1 / factor
    if isinstance(thing, BaseModel):
        changed = {
            name: in_other_seconds(getattr(thing, name), factor, _scale(name, factor, scale))
            for name in type(thing).model_fields
        }
        return thing.model_copy(update=changed)
    if isinstance(thing, dict):
        return {key: in_other_seconds(value, factor, scale) for key, value in thing.items()}
    if isinstance(thing, float | int) and not isinstance(thing, bool) and scale != 1.0:
        return thing * scale
    return thing


def _scale(name: str, factor: float, inherited: float) -> float:
    if name.endswith(("_per_s", "_w", "_hour_usd", "low_usd", "high_usd", "_hz")):
        return 1 / factor
    return factor if name.endswith("_s") else inherited


@pytest.mark.parametrize("phase", ["decode", "prefill"])
@pytest.mark.parametrize("scheme", STACKS)
def test_a_change_of_the_unit_of_time(setup_of: Any, scheme: str, phase: Any) -> None:
    setup: Setup = setup_of(model_for(scheme), scheme, on="h100:8", eager=phase == "prefill")
    system = setup.system
    slow = replace(
        setup,
        system=replace(
            system, device=in_other_seconds(system.device, 1000.0), node=in_other_seconds(system.node, 1000.0)
        ),
        engine=in_other_seconds(setup.engine, 1000.0),
        calibration=in_other_seconds(setup.calibration, 1000.0),
    )
    axes = Axes(np.array([1.0, 30.0, 400.0]), np.array([100.0, 8192.0, 100_000.0]), phase)
    before, after = estimate(setup, axes, keep_lines=False), estimate(slow, axes, keep_lines=False)
    for name, value in values(before).items():
        factor = 1000.0 if name in SECONDS else 1.0
        np.testing.assert_allclose(values(after)[name], np.asarray(value) * factor, rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(after.tokens_per_s.mid * 1000, before.tokens_per_s.mid, rtol=1e-12)


BYTES = frozenset(resource for resource, unit in UNITS.items() if unit == "bytes")


def in_other_bytes(thing: Any, factor: float) -> Any:
    """``thing`` with every rate of bytes multiplied by ``factor``."""
    if not isinstance(thing, BaseModel):
        return thing
    changed = {}
    for name in type(thing).model_fields:
        value = getattr(thing, name)
        changed[name] = value * factor if name.endswith("bytes_per_s") and value else in_other_bytes(value, factor)
    return thing.model_copy(update=changed)


@pytest.mark.parametrize("scheme", ["none", "quest", "palu+offload", "offload:attend=host", "offload:to=ssd"])
def test_a_change_of_the_unit_of_bytes(setup_of: Any, scheme: str) -> None:
    setup: Setup = setup_of(scheme=scheme, on="h100:8")
    found = estimate(setup, Axes(np.array([1.0, 30.0]), 8192.0))
    operators = {}
    for line in found.lines:
        if line.term.symbols:
            operators.setdefault((line.owner, line.operator), []).append(line.term)

    def traffic(factor: float) -> Traffic:
        def scaled(t: Term) -> Term:
            return replace(t, amount=t.amount * factor) if t.resource in BYTES else t

        return Traffic(
            tuple(Operator(owner, name, "attention", tuple(map(scaled, ts))) for (owner, name), ts in operators.items())
        )

    other = replace(
        setup.system, device=in_other_bytes(setup.system.device, 8.0), node=in_other_bytes(setup.system.node, 8.0)
    )
    for calibration in (None, setup.calibration):
        before = price(traffic(1.0), Prices(setup.system, calibration)).step_s
        after = price(traffic(8.0), Prices(other, calibration)).step_s
        np.testing.assert_allclose(after, before, rtol=1e-12)
