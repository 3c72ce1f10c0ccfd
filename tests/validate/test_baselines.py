"""The simple models that a kernel model must beat."""

from __future__ import annotations

import numpy as np
import pytest

from kvwall.hardware.device import DEVICES
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.families import families
from kvwall.validate.baselines import launch_and_two, one_efficiency
from kvwall.validate.point_table import Sample


def _sample(launch_s: float) -> Sample:
    tokens = np.geomspace(64, 1e6, 60)
    memory, other = tokens * 1e-9, np.where(np.arange(60) % 2, 3.0, 0.1) * tokens * 1e-9
    return Sample(
        device="h100-sxm5-80gb",
        framework="mine",
        family=families()["decode/generic"],
        machine=machine_of(DEVICES.load("h100")),
        points=Points(kv_len=tokens),
        latency_s=launch_s + np.maximum(memory / 0.8, other / 0.5),
        sources=(),
        versions=(),
        repeated=0,
        uneven=0,
        memory_s=memory,
        other_s=other,
    )


def test_a_launch_and_two_efficiencies_are_found_on_shapes_that_were_held_out() -> None:
    sample = _sample(7e-6)
    assert launch_and_two(sample) == pytest.approx(sample.latency_s, rel=1e-3)


def test_one_efficiency_misses_the_launch() -> None:
    sample = _sample(7e-6)
    errors = np.abs(one_efficiency(sample) / sample.latency_s - 1)
    assert errors[:5].min() > 0.85
    assert errors[-1] < 0.4
