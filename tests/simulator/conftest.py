"""What tests of the simulator share: setups from a few words, and every measure of an estimate by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kvwall.hardware.calibration import CALIBRATIONS
from kvwall.hardware.engine_version import find_engine
from kvwall.hardware.system import make_system
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.deployment import make_deployment
from kvwall.simulator.estimate import Axes, Estimate, estimate
from kvwall.simulator.setup import Setup
from kvwall.simulator.stack import parse_stack
from kvwall.workloads.model_lookup import find_model
from kvwall.workloads.weight_format import WEIGHTS

SetupOf = Callable[..., Setup]
MeasuresOf = Callable[[Estimate], dict[str, Any]]


def _setup_of(
    model: str = "llama-3.1-8b",
    scheme: str = "none",
    on: str = "h100",
    weights: str = "bf16",
    engine: str = "vllm",
    *,
    nodes: int | None = None,
    split: dict[str, int] | None = None,
    **fields: Any,
) -> Setup:
    name, spec = find_model(model)
    system = make_system(on, nodes)
    deployment = make_deployment(spec, system, **(split or {}))
    form = WEIGHTS.load(weights)
    calibration = CALIBRATIONS.load("uncalibrated")
    return Setup(
        name, spec, weights, form, system, deployment, find_engine(engine), parse_stack(scheme), "uncalibrated",
        calibration, **fields,
    )  # fmt: skip


def _resource(found: Estimate, resource: str, owner: str | None = None) -> Any:
    """Amount on a resource over all ranks."""
    lines = [line for line in found.lines if line.term.resource == resource and owner in {None, line.owner}]
    return sum((line.term.amount * line.ranks for line in lines), start=np.float64(0.0))


def _measures_of(found: Estimate) -> dict[str, Any]:
    names = (
        "weights_read_bytes", "kv_stored_bytes", "kv_read_bytes", "kv_written_bytes", "host_link_bytes", "ideal_s",
        "joules",
    )  # fmt: skip
    made: dict[str, Any] = {name: getattr(found, name) for name in names}
    made |= {"step_s": found.step_s.mid, "low_s": found.step_s.low, "high_s": found.step_s.high}
    made["device_bytes"] = Capacity(found.setup, int(np.max(found.axes.context))).sequence_bytes(found.axes.context)
    made["matrix_flops"] = _resource(found, "matrix")
    made["attention_flops"] = sum(
        (line.term.amount * line.ranks for line in found.lines
         if line.term.resource == "matrix" and "attention (" in line.operator),
        start=np.float64(0.0),
    )  # fmt: skip
    made["terms"] = {}
    for line in found.lines:
        amount = made["terms"].get(line.term.name, 0.0)
        made["terms"][line.term.name] = amount + line.term.amount * line.ranks
    made["host_dram_bytes"] = _resource(found, "host dram")
    made["host_flops"] = _resource(found, "host compute")
    made["ssd_bytes"] = _resource(found, "ssd")
    made["flash_bytes"] = _resource(found, "flash")
    for link in ("scale up", "scale out", "peer"):
        made[f"{link} bytes"] = _resource(found, link)
    return made


@pytest.fixture(scope="session")
def setup_of() -> SetupOf:
    """A setup from names: model, scheme, system, weights, engine and degrees of parallelism."""
    return _setup_of


@pytest.fixture(scope="session")
def measures_of() -> MeasuresOf:
    """Every measure of an estimate (with its lines) by name; sums are over all ranks."""
    return _measures_of


@pytest.fixture(scope="session")
def measure() -> Callable[..., dict[str, Any]]:
    """Measures of one estimate: ``measure(axes, model=..., scheme=..., ...)``."""

    def measured(axes: Axes, **words: Any) -> dict[str, Any]:
        return _measures_of(estimate(_setup_of(**words), axes))

    return measured
