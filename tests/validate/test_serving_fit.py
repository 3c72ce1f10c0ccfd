"""Engine constants from served points: what few points tell, and that a document predicts as it was fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kvwall.hardware.engine_calibration import ENGINE_CALIBRATIONS, EngineCalibration, calibrated_engine
from kvwall.hardware.engine_version import find_engine
from kvwall.hardware.errors import InputError
from kvwall.simulator.inquiry import Inquiry, resolve
from kvwall.simulator.predicting.serving import predict_serving
from kvwall.simulator.predicting.table import read_table
from kvwall.validate.served_points import series_of, served
from kvwall.validate.serving_calibrate import calibrate_serving
from kvwall.validate.serving_fit import fit_engine

COLUMNS = "model,gpu,tp,concurrency,input_len,output_len,weight_dtype,kv_dtype,engine,metric,value"
ROW = "llama-3.1-8b,h100,2,{},512,1024,bf16,,vllm 0.12.0,{},{}"


def _table(folder: Path, *rows: str):
    path = folder / "served.csv"
    path.write_text("\n".join([COLUMNS, *rows]) + "\n")
    return read_table(path)


def _made_with(folder: Path, constants: dict[str, float]):
    """A table of what an engine with these constants would measure at 2, 16 and 128 users."""
    rows = [ROW.format(users, "tpot_ms", 1) for users in (2, 16, 128)]
    (series,), _ = series_of(_table(folder, *rows))
    told = [(point.loop.users, *served(point, constants)) for point in series.points]
    return _table(
        folder,
        *(ROW.format(users, metric, value * 1e3) for users, tpot, ttft in told
          for metric, value in (("tpot_ms", tpot), ("ttft_ms", ttft))),
    )  # fmt: skip


TRUE = {"per_step_s": 1.5e-3, "per_sequence_s": 30e-6}


def test_three_points_of_a_known_engine_give_its_host_time_back(tmp_path: Path) -> None:
    # A step of h + s N longer: at 2 users the time per step decides, at 128 the time per sequence.
    (series,), _ = series_of(_made_with(tmp_path, TRUE))
    found = fit_engine(series.points, series.experts, series.profile)
    assert found.constants["per_step_s"] == pytest.approx(1.5e-3, rel=0.05)
    assert found.constants["per_sequence_s"] == pytest.approx(30e-6, rel=0.05)
    # What was measured is far better known than what was assumed of it before.
    assert np.sqrt(found.log_covariance[0, 0]) < 0.2


def test_one_point_moves_no_constant_against_its_default(tmp_path: Path) -> None:
    (series,), _ = series_of(_table(tmp_path, ROW.format(8, "ttft_ms", 90)))
    found = fit_engine(series.points, series.experts, series.profile)
    host = series.profile.host
    assert found.constants["per_step_s"] == host.per_step_s.mid
    assert found.constants["per_sequence_s"] == host.per_sequence_s.mid


def test_a_calibration_predicts_what_it_was_fitted_to(tmp_path: Path) -> None:
    table = _made_with(tmp_path, {**TRUE, "own": 3.0, "others": 0.2})
    calibrate_serving(table, tmp_path / "mine.yaml", "2026-01-01")
    document = ENGINE_CALIBRATIONS.load(str(tmp_path / "mine.yaml"))
    predicted = predict_serving(table, str(tmp_path / "mine.yaml")).predicted
    (series,), _ = series_of(table)
    fitted = np.array([served(point, document.constants) for point in series.points]).ravel() * 1e3
    assert predicted == pytest.approx(fitted, rel=1e-9)
    assert predicted == pytest.approx([float(value) for value in table.text("value")], rel=0.1)


def test_step_and_plan_take_it_too(tmp_path: Path) -> None:
    calibrate_serving(_made_with(tmp_path, TRUE), tmp_path / "mine.yaml", "2026-01-01")
    setup = resolve(Inquiry("llama-3.1-8b", "h100", calibration=str(tmp_path / "mine.yaml"))).setup
    assert setup.engine.host.per_step_s.mid == pytest.approx(1.5e-3, rel=0.05)
    assert setup.calibration_name == "h100-sxm5-80gb.vllm"
    with pytest.raises(InputError, match=r"^--calibration mine: is of the engine 'vllm', not of 'sglang'$"):
        resolve(Inquiry("llama-3.1-8b", "h100", engine="sglang", calibration=str(tmp_path / "mine.yaml")))


def test_what_comes_with_kvwall_is_taken_for_its_own_model_only() -> None:
    known = ENGINE_CALIBRATIONS.load("vllm.qwen3-32b").constants["per_step_s"]
    profile = find_engine("vllm").host.per_step_s.mid
    assert resolve(Inquiry("qwen3-32b", "h100")).setup.engine.host.per_step_s.mid == known
    assert resolve(Inquiry("qwen3-8b", "h100")).setup.engine.host.per_step_s.mid == profile
    assert resolve(Inquiry("qwen3-32b", "h100", calibration="none")).setup.engine.host.per_step_s.mid == profile


def test_an_unknown_constant_is_refused() -> None:
    good = ENGINE_CALIBRATIONS.load("vllm.qwen3-32b")
    with pytest.raises(ValueError, match=r"unknown 'per_stop_s' \(known: per_step_s, "):
        EngineCalibration.model_validate({**good.model_dump(), "constants": {"per_stop_s": 1.0}})


def test_a_constant_has_the_band_of_its_covariance() -> None:
    good = ENGINE_CALIBRATIONS.load("vllm.qwen3-32b")
    host = calibrated_engine(find_engine("vllm"), good).host.per_step_s
    # A central 80 % band is 1.2816 standard deviations each way.
    factor = np.exp(1.2816 * np.sqrt(good.log_covariance[0][0]))
    assert (host.low, host.high) == pytest.approx((host.mid / factor, host.mid * factor))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (ROW.format(8, "tpot_ms", ""), r"has no served point to fit \(1 rows: value is missing\)"),
        (ROW.format(8, "tpot_ms", "-3"), r"\(1 rows: value '-3' is not a time in milliseconds\)"),
        (ROW.format(8, "goodput", 3), r"\(1 rows: metric 'goodput' is not predicted"),
    ],
)
def test_a_table_without_a_point_says_why(tmp_path: Path, row: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        calibrate_serving(_table(tmp_path, row), tmp_path / "mine.yaml", "2026-01-01")
