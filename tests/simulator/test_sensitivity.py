"""What an answer hangs on: indices of a known function, and swings that add up to the band."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from kvwall.simulator.estimate import Axes, estimate
from kvwall.simulator.sensitivity import Factor, capacity_sensitivity, sobol, step_sensitivity


def test_sobol_indices_of_the_ishigami_function() -> None:
    """sin x1 + 7 sin^2 x2 + 0.1 x3^4 sin x1 on (-pi, pi): first order 0.3139, 0.4424, 0; total 0.5576, 0.4424, 0.2437.

    Ishigami and Homma 1990; the variables are uniform, so normal ones are mapped through their distribution.
    """

    def ishigami(z: Any) -> Any:
        x = np.pi * (2 * norm.cdf(z) - 1)
        return np.sin(x[0]) + 7 * np.sin(x[1]) ** 2 + 0.1 * x[2] ** 4 * np.sin(x[0])

    first, total, _ = sobol(ishigami, 3, samples=1 << 13)
    assert first == pytest.approx([0.3139, 0.4424, 0.0], abs=0.01)
    assert total == pytest.approx([0.5576, 0.4424, 0.2437], abs=0.01)


def test_sobol_indices_of_a_sum() -> None:
    """Variances 1, 4 and 9 of a sum of independent variables: 1/14, 4/14 and 9/14, first order and total alike."""
    first, total, values = sobol(lambda z: z[0] + 2 * z[1] + 3 * z[2], 3)
    assert first == pytest.approx([1 / 14, 4 / 14, 9 / 14], abs=0.005)
    assert total == pytest.approx(first, abs=0.005)
    assert np.std(values) == pytest.approx(np.sqrt(14), rel=0.02)


def test_a_factor_meets_both_ends_of_its_band() -> None:
    sigmas = np.array([-1.2815515594457, 0.0, 1.2815515594457])
    assert Factor("a", 0.5, 1.0, 3.0).at(sigmas) == pytest.approx([0.5, 1.0, 3.0])
    assert Factor("b", -2.0, 1.0, 2.0, positive=False).at(sigmas) == pytest.approx([-2.0, 1.0, 2.0])


def test_a_step_hangs_on_its_parts(setup_of: Any) -> None:
    setup = setup_of("llama-3.1-8b")
    found = step_sensitivity(setup, Axes(32.0, 8192.0))
    assert found.mid == pytest.approx(float(estimate(setup, Axes(32.0, 8192.0)).step_s.mid), rel=1e-9)
    assert {swing.factor.name for swing in found.swings} >= {"attention", "feed-forward", "host"}
    assert sum(swing.first for swing in found.swings) == pytest.approx(1.0, abs=0.05)
    for swing in found.swings:
        assert swing.low <= found.mid <= swing.high
    # Independent parts cannot all be at one end at once: the band of the sum is narrower than the sum of the bands.
    whole = estimate(setup, Axes(32.0, 8192.0)).step_s
    assert float(whole.low) <= found.low <= found.mid <= found.high <= float(whole.high)


def test_capacity_hangs_on_the_reserve(setup_of: Any) -> None:
    found = capacity_sensitivity(setup_of("llama-3.1-70b", on="h100:2"), 8192)
    assert found.low <= found.mid <= found.high
    assert found.swings[0].total == max(swing.total for swing in found.swings)
    assert all(swing.low >= found.mid * (1 - 1e-9) for swing in found.swings), "less memory spent holds more"
