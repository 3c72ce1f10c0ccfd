"""The fitter on points whose parameters are known, and folds that keep a shape together."""

from __future__ import annotations

import numpy as np
import pytest

from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import InputError
from kvwall.simulator.kernel_time.attention import ATTENTION_FAMILIES
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.folds import fold_of
from kvwall.validate.fit import calibrate_family, cross_validate, fit_family, residual_by_regime

MACHINE = machine_of(DEVICES.load("h100-sxm5-80gb"))
FAMILY = ATTENTION_FAMILIES["decode/fa3-bf16"]
TRUE = {
    "launch_us": 9.0, "wave_us": 5.5, "step_us": 1.2, "fill_us": 3.0, "l2_share": 0.9, "combine_us": 1.8,
    "hbm_fraction": 0.85, "channel_conflict": 0.1,
}  # fmt: skip


def shapes() -> Points:
    batch, kv_heads, kv_len, head_dim = np.meshgrid(
        [1.0, 4, 16, 64], [1.0, 8], 2.0 ** np.arange(4, 16), [64.0, 128, 256], indexing="ij"
    )
    return Points(
        batch=batch.ravel(), kv_heads=kv_heads.ravel(), q_heads=4 * kv_heads.ravel(), kv_len=kv_len.ravel(),
        head_dim=head_dim.ravel(), value_dim=head_dim.ravel(), warm=1.0,
    )  # fmt: skip


def measured(noise=0.02, seed=7):
    points = shapes()
    generator = np.random.default_rng(seed)
    clean = FAMILY.seconds(points, TRUE, MACHINE)
    return points, clean * np.exp(noise * generator.standard_normal(clean.shape))


def test_a_fit_recovers_the_parameters_that_made_the_points():
    points, latency = measured()
    fit = fit_family(FAMILY, points, latency, MACHINE)
    assert fit.parameters == pytest.approx(TRUE, rel=0.12)
    assert fit.n == latency.size
    assert fit.at_bound == ()
    assert fit.residual["below 10 us"] == pytest.approx(0.02, rel=0.2)


def test_the_covariance_says_which_parameters_are_well_known():
    points, latency = measured()
    fit = fit_family(FAMILY, points, latency, MACHINE)
    sigma = dict(zip(fit.parameters, np.sqrt(np.diag(fit.log_covariance)), strict=True))
    assert fit.log_covariance.shape == (8, 8)
    assert sigma["launch_us"] < 0.02 < sigma["fill_us"]


def test_outliers_hardly_move_a_fit():
    points, latency = measured()
    latency = latency.copy()
    latency[::29] *= 30
    assert fit_family(FAMILY, points, latency, MACHINE).parameters["launch_us"] == pytest.approx(9.0, rel=0.02)


def test_a_parameter_that_no_point_touches_stays_at_its_default():
    short = Points(batch=1.0, kv_heads=1.0, q_heads=8.0, kv_len=np.arange(1.0, 101), value_dim=128.0, warm=1.0)
    fit = fit_family(FAMILY, short, FAMILY.seconds(short, TRUE, MACHINE), MACHINE)
    assert fit.parameters["combine_us"] == pytest.approx(2.0, rel=0.01)
    assert fit.parameters["hbm_fraction"] == pytest.approx(0.9, rel=0.01)


def test_a_parameter_at_its_bound_is_reported():
    points, _ = measured()
    slow = FAMILY.seconds(points, {**TRUE, "launch_us": 90.0}, MACHINE)
    assert "launch_us" in fit_family(FAMILY, points, slow, MACHINE).at_bound


def test_out_of_fold_predictions_come_from_fits_without_the_point():
    points, latency = measured(noise=0.0)
    groups = fold_of(points)
    spoiled = latency.copy()
    spoiled[groups == 2] *= 3
    predicted = cross_validate(FAMILY, points, spoiled, MACHINE, groups)
    assert predicted[groups == 2] == pytest.approx(latency[groups == 2], rel=0.02)


def test_folds_keep_duplicates_together_whatever_their_order_and_neighbours():
    points = shapes()
    twice = points.take(np.concatenate([np.arange(288), np.arange(288)[::-1]]))
    folds = fold_of(twice)
    assert np.array_equal(folds[:288], folds[288:][::-1])
    assert np.array_equal(folds[:288], fold_of(points))
    assert np.bincount(folds[:288], minlength=5).min() > 30


def test_a_calibration_carries_its_errors_and_its_source():
    points, latency = measured()
    document, predicted = calibrate_family(FAMILY, points, latency, MACHINE, source="made up", date="2026-01-01")
    assert document.family == "decode/fa3-bf16"
    assert document.cross_validated.median == pytest.approx(np.median(np.abs(predicted / latency - 1)), rel=1e-3)
    assert document.cross_validated.p90 < 0.06
    assert (document.points, document.n, document.comment) == ("made up", latency.size, "")


def test_a_regime_with_few_points_takes_the_spread_of_all():
    errors = np.concatenate([np.linspace(-0.1, 0.1, 101), [5.0]])
    ideal = np.concatenate([np.full(101, 1e-6), [1.0]])
    spread = residual_by_regime(errors, ideal)
    assert spread["below 10 us"] == pytest.approx(0.08 / 1.2816, rel=0.01)
    assert spread["above 100 us"] == pytest.approx(spread["below 10 us"], rel=0.05)


@pytest.mark.parametrize("bad", [np.array([]), np.array([0.0]), np.array([np.nan])])
def test_latencies_that_cannot_be_fitted_are_refused(bad):
    with pytest.raises(InputError) as error:
        fit_family(FAMILY, Points(kv_len=np.ones(bad.size)), bad, MACHINE)
    assert str(error.value) == "decode/fa3-bf16: a fit needs at least one latency, all positive and finite"
