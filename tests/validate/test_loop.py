"""The whole loop on a processor: measure, calibrate, predict, agree. Its files and its flow, not its accuracy."""

from __future__ import annotations

import csv
import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from kvwall.hardware.calibration import KernelCalibration
from kvwall.hardware.device import Device
from kvwall.hardware.document import read_document
from kvwall.simulator.cli.main import main

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")

#: Kernels of the suite ``tiny`` that need no GPU.
KERNELS = {
    "launch", "memory_copy", "gemm", "decode_attention", "prefill_attention", "mla_decode", "rematerialize", "evict",
    "host_gather", "host_copy",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Points of this machine, moved to where they were not measured."""
    from kvwall.validate import campaign, measure

    measured = tmp_path_factory.mktemp("here") / "points"
    with pytest.MonkeyPatch.context() as patch:
        # Times are not looked at: a few samples will do, however uneven.
        patch.setattr(measure, "BUDGETS_S", {"cpu": 1e-4})
        patch.setattr(campaign, "WIDEST_SPREAD", float("inf"))
        measure.measure(measured, "cpu", "tiny")
    moved = tmp_path_factory.mktemp("there") / "moved"
    shutil.move(measured, moved)
    return moved


@pytest.fixture(scope="module")
def calibration(folder: Path) -> Path:
    path = folder.parent / "mine.yaml"
    assert main(["calibrate", str(folder / "points.csv"), "-o", str(path)]) == 0
    return path


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_measure_leaves_the_data_sheet_beside_the_points(folder: Path) -> None:
    sheet = read_document(folder / "device.yaml", Device)
    assert sheet.is_processor
    assert sheet.matrix_peaks.fp32 is not None
    assert sheet.launch.eager_s > 0
    rows = _rows(folder / "points.csv")
    assert {row["gpu"] for row in rows} == {"device.yaml"}
    assert {row["kernel"] for row in rows} == KERNELS
    assert [row["flag"] for row in rows] == [""] * 12


def test_calibrate_fits_every_kernel_and_keeps_the_data_sheet(folder: Path, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "mine.yaml"
    assert main(["calibrate", str(folder / "points.csv"), "-o", str(output), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["rows"], answer["used"], answer["left_out"], answer["warnings"]) == (12, 12, {}, [])
    assert answer["written"] == [str(output), str(tmp_path / "mine.device.yaml")]
    assert {fit["device"] for fit in answer["fits"]} == {read_document(folder / "device.yaml", Device).name}
    single = next(fit for fit in answer["fits"] if fit["family"] == "roofline/launch")
    assert single["note"] == "a single point: launch_us made to go through it, which tells nothing of other shapes"
    made = read_document(output, KernelCalibration)
    assert (made.device, made.framework) == ("mine.device.yaml", "torch")
    assert (tmp_path / "mine.device.yaml").read_text() == (folder / "device.yaml").read_text()


def test_predict_and_agree_price_every_point_by_it(folder: Path, calibration: Path, capsys: Any) -> None:
    points, predicted = str(folder / "points.csv"), folder.parent / "predicted.csv"
    assert main(["predict", points, "--calibration", str(calibration), "-o", str(predicted)]) == 0
    rows = _rows(predicted)
    assert {row["calibration"] for row in rows} == {"mine"}
    assert all(float(row["predicted_us"]) > 0 for row in rows)
    assert {row["note"] for row in rows} == {""}
    capsys.readouterr()
    arguments = ["agree", points, "--calibration", str(calibration), "--by", "kernel", "--out-of-fold", "--json"]
    assert main(arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["overall"]["n"], answer["unpredicted"], answer["flagged"]) == (12, {}, 0)
    assert {group["group"]["kernel"] for group in answer["groups"]} == KERNELS
    assert answer["warnings"] == ["12 points are in sample: their calibration keeps no folds"]


def test_a_step_is_asked_on_the_machine_that_was_measured(calibration: Path, capsys: Any) -> None:
    sheet = str(calibration.with_name("mine.device.yaml"))
    step = ["step", "qwen2.5-0.5b", "--on", sheet, "--batch", "1", "--context", "512", "--json"]
    assert main([*step, "--calibration", str(calibration)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["device"] == sheet
    assert answer["points"][0]["step_s"]["mid"] > answer["points"][0]["ideal_step_s"] > 0


def test_without_the_data_sheet_one_line_says_what_is_missing(folder: Path, tmp_path: Path, capsys: Any) -> None:
    alone = tmp_path / "points.csv"
    shutil.copy(folder / "points.csv", alone)
    assert main(["calibrate", str(alone), "-o", str(tmp_path / "mine.yaml")]) == 2
    missing = (tmp_path / "device.yaml").resolve()
    assert capsys.readouterr().err == (
        f"kvwall: {alone}: has no point to fit (12 rows: gpu 'device.yaml': {missing}: cannot be read "
        "(No such file or directory))\n"
    )


def test_a_calibration_that_lost_its_data_sheet_says_so(
    folder: Path, calibration: Path, tmp_path: Path, capsys: Any
) -> None:
    alone = tmp_path / "mine.yaml"
    shutil.copy(calibration, alone)
    assert main(["predict", str(folder / "points.csv"), "--calibration", str(alone)]) == 2
    missing = (tmp_path / "mine.device.yaml").resolve()
    assert capsys.readouterr().err == (
        f"kvwall: {alone}: device: 'mine.device.yaml': {missing}: cannot be read (No such file or directory)\n"
    )
