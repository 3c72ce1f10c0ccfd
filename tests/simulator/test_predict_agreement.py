"""Agreement of predictions with measurements."""

from __future__ import annotations

import numpy as np
import pytest

from kvwall.simulator.predicting.agreement import agreement, groups, regimes


def test_quantiles_bias_and_the_share_inside_the_band() -> None:
    measured = np.full(10, 100.0)
    predicted = 100.0 + np.arange(10)  # errors of 0 to 9 %
    found = agreement(predicted, measured, predicted / 1.05, predicted * 1.05)
    assert found is not None
    assert found.n == 10
    assert (found.median, found.p90) == (pytest.approx(0.045), pytest.approx(0.081))
    assert found.bias == pytest.approx(0.045)
    assert found.inside_band == 0.6  # of 0 to 5 %: 105 / 1.05 is 100 itself


def test_a_prediction_that_is_too_fast_has_a_negative_bias() -> None:
    found = agreement(np.full(5, 80.0), np.full(5, 100.0), np.zeros(5), np.full(5, 90.0))
    assert found is not None
    assert (found.bias, found.median, found.inside_band) == (pytest.approx(-0.2), pytest.approx(0.2), 0.0)


def test_the_interval_is_that_of_a_bootstrap_and_the_same_each_time() -> None:
    rng = np.random.default_rng(1)
    measured = np.exp(rng.normal(size=400))
    predicted = measured * np.exp(rng.normal(scale=0.1, size=400))
    found = agreement(predicted, measured, measured, measured)
    again = agreement(predicted, measured, measured, measured)
    assert found is not None
    assert found == again
    errors = np.abs(predicted / measured - 1)
    drawn = np.quantile(errors[rng.integers(0, 400, (4000, 400))], 0.9, axis=1)
    assert found.p90_interval == pytest.approx(np.quantile(drawn, [0.025, 0.975]), rel=0.06)
    assert found.median_interval[0] < found.median < found.median_interval[1]


def test_the_interval_shrinks_with_the_root_of_the_points() -> None:
    def width(count: int) -> float:
        errors = np.linspace(0, 1, count)
        found = agreement(1 + errors, np.ones(count), np.ones(count), np.ones(count))
        assert found is not None
        return found.median_interval[1] - found.median_interval[0]

    assert width(400) / width(40_000) == pytest.approx(10, rel=0.2)


def test_no_point_has_no_agreement() -> None:
    none = np.empty(0)
    assert agreement(none, none, none, none) is None


def test_every_ideal_time_is_in_one_regime() -> None:
    inside = regimes(np.array([0.0, 9.99, 10.0, 99.9, 100.0, 1e9]))
    assert np.stack(list(inside.values())).sum(axis=0).tolist() == [1] * 6
    assert inside["ideal 10 to 100 us"].tolist() == [False, False, True, True, False, False]


def test_groups_keep_the_order_of_the_table() -> None:
    found = groups([["b", "a", "b"], ["1", "1", "2"]])
    assert [(values, rows.tolist()) for values, rows in found] == [
        (("b", "1"), [0]),
        (("a", "1"), [1]),
        (("b", "2"), [2]),
    ]
