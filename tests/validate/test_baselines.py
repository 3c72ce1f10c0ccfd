"""The simple models that a kernel model must beat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kvwall.hardware.device import DEVICES
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.families import families
from kvwall.simulator.predicting.folds import fold_of
from kvwall.validate.baselines import launch_and_two, one_efficiency
from kvwall.validate.point_table import Sample
from kvwall.validate.trees import boosted_trees, grown


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


def test_trees_learn_what_lies_between_their_points_and_nothing_beyond() -> None:
    pytest.importorskip("sklearn")
    sample = _sample(7e-6)
    order = np.arange(60)
    between = boosted_trees(sample)
    assert np.median(np.abs(between / sample.latency_s - 1)) < 0.25
    # A tree is flat outside: beyond the longest context that it has seen it repeats the last times.
    beyond = grown(sample, order[:40])(order[40:])
    assert beyond.max() <= sample.latency_s[:40].max() * 1.001
    assert np.median(beyond / sample.latency_s[40:]) < 0.5


def test_trees_never_see_the_fold_that_they_predict() -> None:
    pytest.importorskip("sklearn")
    sample = _sample(7e-6)
    first = fold_of(sample.points) == 0
    spoiled = replace(sample, latency_s=np.where(first, 100.0, sample.latency_s))
    assert boosted_trees(spoiled)[first] == pytest.approx(boosted_trees(sample)[first])
