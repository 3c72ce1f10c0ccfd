"""Data sheets of machines that the library does not describe: when they are made, what they hold, where they are."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kvwall.hardware.device import DEVICES, Device
from kvwall.hardware.document import read_document
from kvwall.hardware.errors import InputError
from kvwall.simulator.predicting.names import device_of
from kvwall.validate.calibrate import calibrate_points
from kvwall.validate.device_sheet import described_by, is_measured, named_in, raised, write_sheet
from kvwall.validate.environment import Environment
from kvwall.validate.peak_rates import Peaks
from kvwall.validate.point_table import point_table, read_points

LAPTOP = Environment(
    device="cpu", gpu="", name="AMD EPYC 9654 96-Core Processor", count=1, capability="x86_64", units=2,
    memory_bytes=16 * 2.0**30, cache_bytes=32 * 2.0**20, driver="none", clocks="unknown",
    torch="2.13.0", cuda="none", triton="none", libraries={}, python="3.11.7", platform="Linux", kvwall="0.1.0",
    started="2026-01-02T03:04:05+00:00", vendor="amd", sockets=1,
)  # fmt: skip

PEAKS = Peaks(
    memory_bytes_per_s=55e9, cache_bytes_per_s=180e9, flops_per_s={"fp32": 190e9, "bf16": 420e9},
    link_bytes_per_s=None, eager_s=2.5e-6, graph_s=2.5e-6,
    repeats={"memory": 40, "cache": 900, "product": 6, "launch": 5000},
)  # fmt: skip


def test_a_like_name_is_not_enough_for_a_processor() -> None:
    # The data sheet called EPYC 9654 counts the 192 cores of two sockets.
    assert described_by(LAPTOP) is None
    assert described_by(LAPTOP.model_copy(update={"units": 192})) == "cpu-2s-epyc-9654"
    xeon = LAPTOP.model_copy(update={"name": "Intel(R) Xeon(R) Platinum 8480+", "units": 112})
    assert described_by(xeon) == "cpu-2s-xeon-8480p"
    assert described_by(LAPTOP.model_copy(update={"name": "A processor of nobody"})) is None


def test_a_card_must_have_the_memory_of_its_data_sheet() -> None:
    card = LAPTOP.model_copy(update={"device": "cuda", "name": "NVIDIA H100 80GB HBM3", "memory_bytes": 85e9})
    assert described_by(card) == "h100-sxm5-80gb"
    assert described_by(card.model_copy(update={"memory_bytes": 42e9})) is None  # a slice of one


def test_a_measured_sheet_says_how_each_figure_was_had(tmp_path: Path) -> None:
    path = tmp_path / "device.yaml"
    made = write_sheet(path, LAPTOP, PEAKS)
    assert read_document(path, Device) == made
    assert made.name == "AMD EPYC 9654 96-Core Processor (2 cores)"
    assert (made.vendor, made.form, made.architecture) == ("amd", "1-socket", "x86_64")
    assert made.is_processor
    assert is_measured(made)
    assert made.hbm.bandwidth_bytes_per_s == 55e9
    assert (made.matrix_peaks.fp32, made.matrix_peaks.bf16) == (190e9, 420e9)
    assert made.l2 is not None
    assert made.l2.capacity_bytes == 32 * 2**20
    assert "measured by kvwall measure on 2026-01-02, best of 40 repeats" in made.hbm.source
    assert "best of 6 repeats" in made.matrix_peaks.source
    assert "not measured" in made.power.source


def test_a_card_without_a_data_sheet_takes_its_generation_from_its_capability(tmp_path: Path) -> None:
    card = LAPTOP.model_copy(
        update={"device": "cuda", "name": "A card of nobody", "capability": "9.0", "units": 100, "vendor": "nvidia"}
    )
    made = write_sheet(tmp_path / "device.yaml", card, PEAKS)
    assert (made.name, made.architecture, made.compute_capability, made.is_processor) == (
        "A card of nobody", "Hopper", 9.0, False
    )  # fmt: skip


def test_kernels_of_such_a_card_that_state_their_work_are_calibrated(tmp_path: Path) -> None:
    card = LAPTOP.model_copy(
        update={"device": "cuda", "name": "A card of nobody", "capability": "9.0", "units": 100, "vendor": "nvidia"}
    )
    fast = replace(PEAKS, memory_bytes_per_s=2e12, flops_per_s={"fp32": 60e12, "bf16": 900e12})
    write_sheet(tmp_path / "device.yaml", card, fast)
    shapes = "batch,q_len,kv_len,n_q_heads,n_kv_heads,head_dim"
    rows = [f"gpu,framework,kernel,dtype,kv_dtype,{shapes},cache,extra,latency_us"]
    for kernel, kv_dtype in (("decode_attention", "kivi2"), ("decode_attention", "kivi4"), ("sparse_decode", "bf16")):
        for batch in (1, 4, 16):
            for tokens in (1024, 2048, 4096, 16384, 65536):
                moved, flops = 1000 * batch * tokens, 4 * 32 * 128 * batch * tokens
                # A launch of 20 us, then half of 2 TB/s; the operations take a fiftieth of that.
                latency = 20 + moved / (0.5 * 2e12) * 1e6
                shape = f"{batch},1,{tokens},32,8,128,cold,moved_bytes={moved};flops={flops}"
                rows.append(f"device.yaml,kvwall,{kernel},fp16,{kv_dtype},{shape},{latency}")
    path = tmp_path / "points.csv"
    path.write_text("\n".join(rows).replace("sparse_decode,fp16", "sparse_decode,bf16") + "\n")
    found = point_table(read_points(path))
    assert found.left_out == {}
    made = {one.document.family: one for one in calibrate_points(found, "2026-01-02")}
    assert {name: one.document.n for name, one in made.items()} == {
        "roofline/decode_kivi-fp16": 30, "roofline/sparse_decode-bf16": 15
    }  # fmt: skip
    for one in made.values():
        assert one.document.parameters["launch_us"] == pytest.approx(20, rel=0.05)
        assert one.document.parameters["hbm_fraction"] == pytest.approx(0.5, rel=0.05)


def test_points_raise_a_measured_peak_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "device.yaml"
    write_sheet(path, LAPTOP, PEAKS)
    points = [
        {"dtype": "fp32", "memory_bytes_per_s": 61e9, "flops_per_s": 100e9},
        {"dtype": "bf16", "memory_bytes_per_s": 20e9, "flops_per_s": 430e9},
        {"dtype": "fp32", "memory_bytes_per_s": 900e9, "flops_per_s": 900e9, "flag": "unsteady"},
        {"dtype": "int8"},
    ]
    found = raised(path, points)
    assert found == read_document(path, Device)
    assert (found.hbm.bandwidth_bytes_per_s, found.matrix_peaks.fp32, found.matrix_peaks.bf16) == (61e9, 190e9, 430e9)
    printed = tmp_path / "printed.yaml"
    printed.write_text((Path(str(DEVICES._folder)) / "t4.yaml").read_text())
    assert raised(printed, points) == DEVICES.load("t4")


def test_the_name_may_be_one_of_the_library_or_a_path(tmp_path: Path) -> None:
    assert named_in(tmp_path, LAPTOP, None) == "device.yaml"
    assert named_in(tmp_path, LAPTOP, "h100") == "h100-sxm5-80gb"
    assert named_in(tmp_path, LAPTOP, "my laptop") == "device.yaml"
    assert list(tmp_path.iterdir()) == []
    mine = tmp_path / "mine.yaml"
    write_sheet(mine, LAPTOP, PEAKS)
    assert named_in(tmp_path, LAPTOP, str(mine)) == "device.yaml"
    assert (tmp_path / "device.yaml").read_text() == mine.read_text()
    with pytest.raises(InputError) as error:
        named_in(tmp_path, LAPTOP, "nowhere.yaml")
    assert str(error.value) == "nowhere.yaml: cannot be read (No such file or directory)"


def test_a_table_finds_the_sheet_beside_it_wherever_the_folder_goes(tmp_path: Path) -> None:
    folder = tmp_path / "points"
    folder.mkdir()
    write_sheet(folder / "device.yaml", LAPTOP, PEAKS)
    assert device_of("device.yaml", folder).name == str((folder / "device.yaml").resolve())
    moved = tmp_path / "moved"
    shutil.move(folder, moved)
    assert device_of("device.yaml", moved).name == str((moved / "device.yaml").resolve())
    gone = device_of("device.yaml", folder)
    missing = (folder / "device.yaml").resolve()
    assert gone.why == f"gpu 'device.yaml': {missing}: cannot be read (No such file or directory)"
    (moved / "device.yaml").write_text("name: nothing else\n")
    assert device_of("device.yaml", moved).why.startswith(f"gpu 'device.yaml': {(moved / 'device.yaml').resolve()}: ")


def test_two_files_of_one_machine_are_one_device(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_sheet(tmp_path / f"{name}.yaml", LAPTOP, PEAKS, "another" if name == "c" else None)
    a, b, c = (str(tmp_path / f"{name}.yaml") for name in ("a", "b", "c"))
    assert DEVICES.same(a, b)
    assert not DEVICES.same(a, c)
    assert not DEVICES.same(a, "h100-sxm5-80gb")
    assert DEVICES.same("t4", "t4")
