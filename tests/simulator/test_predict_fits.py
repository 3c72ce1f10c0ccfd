"""The calibrations that ship with kvwall as `predict` sees them, and their folds."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from kvwall.hardware.calibration import KERNEL_CALIBRATIONS
from kvwall.hardware.document import read_document
from kvwall.hardware.errors import InputError
from kvwall.simulator.predicting.families import families
from kvwall.simulator.predicting.fits import chooser_of, shipped
from kvwall.simulator.predicting.folds import FOLDS, FoldParameters
from kvwall.simulator.predicting.prediction import predict_kernels
from kvwall.simulator.predicting.table import read_table

FOLD_FILES = sorted((Path(str(files("kvwall.hardware"))) / "calibrations" / "folds").glob("*.yaml"))


def test_every_shipped_fit_is_of_a_kernel_model_that_exists() -> None:
    used = {(fit.calibration, fit.family.name) for fit in shipped()}
    there = {(name, family) for name in KERNEL_CALIBRATIONS.names for family in KERNEL_CALIBRATIONS.load(name).fits}
    assert used == there


@pytest.mark.parametrize("path", FOLD_FILES, ids=lambda path: path.stem)
def test_folds_are_of_a_shipped_fit_and_near_it(path: Path) -> None:
    kept = read_document(path, FoldParameters)
    assert kept.calibration == path.stem
    fits = KERNEL_CALIBRATIONS.load(path.stem).fits
    for family, folds in kept.families.items():
        assert len(folds) == FOLDS
        known = {parameter.name: parameter for parameter in families()[family].parameters}
        assert all(set(parameters) == set(known) == set(fits[family].parameters) for parameters in folds)
        for name, parameter in known.items():
            values = [parameters[name] for parameters in folds]
            # Written with four digits, a number at a bound may lie a rounding beyond it.
            assert parameter.low * 0.999 <= min(values)
            assert max(values) <= parameter.high * 1.001


def test_one_calibration_prices_only_its_own_kernels(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    header = "gpu,framework,kernel,dtype,batch,kv_len,n_q_heads,n_kv_heads,head_dim,m,n,k"
    path.write_text(
        f"{header}\nl40s,vllm,decode_attention,bf16,8,4096,32,8,128,,,\nl40s,vllm,gemm,bf16,,,,,,8,4096,4096\n"
    )
    table = read_table(path)
    found = predict_kernels(table, chooser_of("L40S_vLLM"))
    assert found.calibration == ("l40s.vllm", "uncalibrated")
    assert found.note[1].startswith("no fit of gemm/")
    assert set(predict_kernels(table, chooser_of("none")).calibration) == {"uncalibrated"}


def test_a_folder_without_a_calibration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the folder holds no calibration"):
        chooser_of(str(tmp_path))


def test_more_work_never_takes_less_time_by_a_shipped_fit(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    rows = [f"h100,vllm,decode_attention,bf16,32,{tokens},32,8,128" for tokens in (1024, 8192, 65536, 262144)]
    path.write_text("gpu,framework,kernel,dtype,batch,kv_len,n_q_heads,n_kv_heads,head_dim\n" + "\n".join(rows) + "\n")
    found = predict_kernels(read_table(path), chooser_of(None))
    assert set(found.calibration) == {"h100-sxm5-80gb.vllm"}
    assert np.all(np.diff(found.predicted_us) > 0)
    assert found.bound_by[-1] == "hbm"
    assert found.predicted_us[-1] < 1.2 * found.ideal_us[-1]


def test_a_row_without_a_framework_takes_a_fit_of_its_own_card(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    rows = [f"h100,{name},decode_attention,bf16,16,4096,32,8,128" for name in ("", "vllm")]
    path.write_text("gpu,framework,kernel,dtype,batch,kv_len,n_q_heads,n_kv_heads,head_dim\n" + "\n".join(rows) + "\n")
    found = predict_kernels(read_table(path), chooser_of(None))
    assert set(found.calibration) == {"h100-sxm5-80gb.vllm"}
    assert found.predicted_us[0] == found.predicted_us[1]
    assert found.high_us[0] > found.high_us[1]
