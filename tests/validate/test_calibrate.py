"""``kvwall calibrate``: fits of synthetic tables, what is left out of them, and what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kvwall.hardware.calibration import KernelCalibration
from kvwall.hardware.device import DEVICES
from kvwall.hardware.document import read_document
from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.agree import agree
from kvwall.simulator.cli.main import main
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.families import families
from kvwall.simulator.predicting.folds import FoldParameters, fold_of
from kvwall.validate.calibrate import FEWEST_POINTS, calibrate_points
from kvwall.validate.point_table import point_table, read_points

FAMILY = families()["decode/generic"]
TRUTH = {"launch_us": 21.0, "hbm_fraction": 0.61, "l2_share": 0.75, "wave_us": 1.2}
HEADER = (
    "source,source_version,gpu,framework,kernel,dtype,batch,q_len,kv_len,n_q_heads,n_kv_heads,head_dim,latency_us,flag"
)
Run = Any


def _shapes() -> list[tuple[int, int]]:
    return [(batch, tokens) for batch in (1, 4, 16, 64) for tokens in (128, 1024, 4096, 16384, 65536)]


def _latency_us(batch: int, tokens: int) -> float:
    points = Points(
        batch=np.array([batch]), kv_len=np.array([tokens]), q_heads=np.array([32]), kv_heads=np.array([8]),
        head_dim=128.0, value_dim=128.0, warm=1.0,
    )  # fmt: skip
    return float(FAMILY.seconds(points, TRUTH, machine_of(DEVICES.load("h20")))[0] * 1e6)


def _row(batch: int, tokens: int, latency: object, gpu: str = "h20", flag: str = "") -> str:
    return f"bench@1,2.0,{gpu},mine,decode_attention,bf16,{batch},1,{tokens},32,8,128,{latency},{flag}"


def _good_rows(noise: float = 0.0) -> list[str]:
    rng = np.random.default_rng(5)
    return [_row(b, t, _latency_us(b, t) * np.exp(rng.normal(scale=noise))) for b, t in _shapes()]


def _file(folder: Path, rows: list[str], header: str = HEADER, name: str = "points.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_fit_finds_the_numbers_that_made_the_table(tmp_path: Path) -> None:
    (made,) = calibrate_points(point_table(read_points(_file(tmp_path, _good_rows()))), "2026-01-01")
    found = made.document.parameters
    assert found["launch_us"] == pytest.approx(TRUTH["launch_us"], rel=0.02)
    assert found["hbm_fraction"] == pytest.approx(TRUTH["hbm_fraction"], rel=0.02)
    assert made.row.median is not None
    assert made.row.median < 0.02
    assert (made.document.points, made.document.date, made.document.n) == ("bench@1", "2026-01-01", 20)
    assert len(made.folds) == 5


def test_noise_shows_in_the_error_on_unseen_shapes_and_in_the_band(tmp_path: Path) -> None:
    (made,) = calibrate_points(point_table(read_points(_file(tmp_path, _good_rows(0.2)))), "2026-01-01")
    assert made.row.median is not None
    assert made.row.median > made.row.in_sample_median * 0.9
    assert 0.05 < made.document.residual["above 100 us"] < 0.5


def test_what_cannot_be_fitted_is_named_counted_and_left_out(tmp_path: Path) -> None:
    other = "bench@1,2.0,h20,mine"
    bad = [
        _row(1, 128, ""), _row(1, 128, 0), _row(1, 128, -4), _row(1, 128, "fast"), _row(1, 128, 9, flag="l2_resident"),
        _row(64, 65536, 100), _row(1, 128, 30, gpu="h2000"), _row(1, "", 30), f"{other},softmax,bf16,1,1,,,,,4,",
        f"{other},decode_attention,bf99,1,1,64,8,8,128,4,",
    ]  # fmt: skip
    found = point_table(read_points(_file(tmp_path, [*_good_rows(), *bad])))
    assert [sample.latency_s.size for sample in found.samples] == [20]
    assert found.left_out == {
        "flag l2_resident": 1,
        "latency_us 'fast' is not a number": 1,
        "latency_us is missing": 1,
        "latency_us is zero or negative": 2,
        "kv_len is missing, decode_attention needs it": 1,
        "faster than the data sheet of h20-96gb allows, and not from its cache": 1,
        "unknown gpu 'h2000'; did you mean 'h200'?": 1,
        "unknown kernel 'softmax'": 1,
        "unknown dtype 'bf99'; did you mean 'bf16'?": 1,
    }


def test_a_small_working_set_may_be_faster_than_memory(tmp_path: Path) -> None:
    # 16.8 MB of keys and values in a cache of 60 MB; at 4 TB/s memory alone takes 4.2 us.
    found = point_table(read_points(_file(tmp_path, [_row(1, 4096, 3.0), *_good_rows()])))
    assert sum(sample.latency_s.size for sample in found.samples) == 21


def test_repeats_that_disagree_are_told(tmp_path: Path) -> None:
    rows = [*_good_rows(), *[_row(1, 128, _latency_us(1, 128) * scale) for scale in (1.0, 1.01, 2.0)]]
    (made,) = calibrate_points(point_table(read_points(_file(tmp_path, rows))), "2026-01-01")
    assert made.sample.repeated == 3
    assert made.row.note == "1 repeats differ by over 25 % from their shape's median"


def test_few_points_fit_a_launch_and_one_efficiency(tmp_path: Path) -> None:
    rows = _good_rows()[: FEWEST_POINTS - 1]
    (made,) = calibrate_points(point_table(read_points(_file(tmp_path, rows))), "2026-01-01")
    defaults = {parameter.name: parameter.default for parameter in FAMILY.parameters}
    assert made.document.parameters["l2_share"] == defaults["l2_share"]
    assert made.document.parameters["wave_us"] == defaults["wave_us"]
    assert made.document.parameters["launch_us"] != defaults["launch_us"]
    assert made.folds == ()
    assert made.row.median is None
    assert made.row.note == "fewer than 8 points: only launch_us and hbm_fraction fitted, the rest at its defaults"
    assert min(made.document.residual.values()) >= 0.2


def test_one_repeated_shape_is_a_fit_without_folds(tmp_path: Path) -> None:
    rows = [_row(16, 4096, _latency_us(16, 4096))] * 12
    (made,) = calibrate_points(point_table(read_points(_file(tmp_path, rows))), "2026-01-01")
    assert made.folds == ()
    assert made.row.note == "too few shapes to hold any out"
    assert np.isfinite(list(made.document.parameters.values())).all()


def test_a_table_without_a_usable_point_is_refused_with_the_reasons(tmp_path: Path) -> None:
    path = _file(tmp_path, [_row(1, 128, 0), _row(1, 128, 0)])
    with pytest.raises(InputError) as caught:
        calibrate_points(point_table(read_points(path)), "2026-01-01")
    assert str(caught.value) == f"{path}: has no point to fit (2 rows: latency_us is zero or negative)"


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("m,n,k,time_us", "has no column 'kernel' (found: m, n, k, time_us)"),
        ("gpu,kernel,latency", "has no column 'latency_us'; did you mean 'latency'? (found: gpu, kernel, latency)"),
    ],
)
def test_the_table_of_another_tool_names_the_missing_column(tmp_path: Path, header: str, why: str) -> None:
    path = _file(tmp_path, ["1" + ",1" * header.count(",")], header)
    with pytest.raises(InputError) as caught:
        read_points(path)
    assert str(caught.value) == f"{path}: {why}"


def test_a_folder_is_its_kernel_tables(tmp_path: Path) -> None:
    rows = _good_rows()
    _file(tmp_path, rows[:10], name="a.csv")
    _file(tmp_path, rows[10:], name="b.csv")
    _file(tmp_path, ["1,2"], "model,value", name="c.csv")
    assert read_points(tmp_path).rows == 20
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no CSV file with the columns kernel, gpu and latency_us"):
        read_points(empty)


def test_folds_hold_whole_shapes_whatever_the_order() -> None:
    tokens = np.arange(1, 400)
    folds = fold_of(Points(kv_len=tokens, batch=2.0))
    mixed = np.random.default_rng(0).permutation(np.repeat(tokens, 2))
    assert np.array_equal(fold_of(Points(kv_len=mixed, batch=2.0)), folds[mixed - 1])
    assert np.bincount(folds).min() > 50


def test_the_command_writes_a_calibration_that_predict_and_agree_use(tmp_path: Path, capsys: Run) -> None:
    points, output = _file(tmp_path, _good_rows(0.05)), tmp_path / "mine.yaml"
    assert main(["calibrate", str(points), "-o", str(output), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["written"] == [str(output), str(tmp_path / "mine.folds.yaml")]
    assert (document["rows"], document["used"], document["left_out"]) == (20, 20, {})
    calibration = read_document(output, KernelCalibration)
    assert (calibration.device, calibration.framework, calibration.versions) == ("h20-96gb", "mine", {"mine": "2.0"})
    folds = read_document(tmp_path / "mine.folds.yaml", FoldParameters)
    assert set(folds.families) == set(calibration.fits) == {"decode/generic"}

    seen = agree(points, calibration=str(output))
    unseen = agree(points, calibration=str(output), out_of_fold=True)
    assert seen.overall is not None
    assert unseen.overall is not None
    assert unseen.overall.n == 20
    assert unseen.warnings == ()
    assert unseen.overall.median == pytest.approx(document["fits"][0]["median"], rel=0.02)
    assert seen.overall.median == pytest.approx(document["fits"][0]["in_sample_median"], rel=0.02)
    before = agree(points, calibration="none").overall
    assert before is not None
    assert before.median > 2 * seen.overall.median


def test_several_devices_become_several_files(tmp_path: Path, capsys: Run) -> None:
    rows = [*_good_rows(), *[_row(b, t, 2 * _latency_us(b, t), gpu="h100") for b, t in _shapes()]]
    assert main(["calibrate", str(_file(tmp_path, rows)), "-o", str(tmp_path / "all.yaml")]) == 0
    out = capsys.readouterr().out
    written = sorted(path.name for path in tmp_path.glob("all*.yaml"))
    assert written == [
        "all.h100-sxm5-80gb.mine.folds.yaml", "all.h100-sxm5-80gb.mine.yaml", "all.h20-96gb.mine.folds.yaml",
        "all.h20-96gb.mine.yaml",
    ]  # fmt: skip
    assert "40 of 40 rows" in out
    assert max(map(len, out.splitlines()[:4])) <= 100


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("mine.json", "a calibration ends in .yaml"),
        ("no/such/mine.yaml", "its folder does not exist"),
    ],
)
def test_a_bad_output_is_refused_before_the_work(tmp_path: Path, capsys: Run, output: str, message: str) -> None:
    path = tmp_path / output
    assert main(["calibrate", str(_file(tmp_path, _good_rows())), "-o", str(path)]) == 2
    assert capsys.readouterr().err == f"kvwall: -o {path}: {message}\n"
