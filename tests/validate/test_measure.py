"""The campaign around the kernels: suites, resuming, shrinking, failing, and its files. Needs neither torch nor a GPU,
but for the tests that say so.
"""

from __future__ import annotations

import csv
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.predict import predict
from kvwall.simulator.answers.schema import schema
from kvwall.simulator.cli.main import main
from kvwall.simulator.predicting.names import KERNELS
from kvwall.validate import environment as environment_module
from kvwall.validate.environment import Environment, cpu_cache_bytes, installed_libraries, require_device
from kvwall.validate.kernels.case import TRITON_PATTERNS, Case
from kvwall.validate.measure import measure
from kvwall.validate.other_work import Used, others_share, used_until_now
from kvwall.validate.points_file import COLUMNS, PointsFile
from kvwall.validate.suite import cannot_run, suite_cases

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")

HERE = Environment(
    device="cuda", gpu="h100-sxm5-80gb", name="NVIDIA H100 80GB HBM3", count=1, capability="9.0", units=132,
    memory_bytes=85e9, cache_bytes=52428800.0, driver="580.1", clocks="1980 MHz", torch="2.13.0", cuda="13.0",
    triton="3.9.0", libraries={}, python="3.11.7", platform="Linux", kvwall="0.1.0", started="2026-01-01",
)  # fmt: skip


def _changed(**changes: Any) -> Environment:
    return HERE.model_copy(update=changes)


# ---- suites


@pytest.mark.parametrize("device", ["cuda", "cpu"])
@pytest.mark.parametrize("suite", ["quick", "standard", "tiny"])
def test_every_case_of_a_suite_is_another(device: str, suite: str) -> None:
    cases = suite_cases(suite, _changed(device=device))
    assert len({case.key for case in cases}) == len(cases) >= 12
    assert cases == suite_cases(suite, _changed(device=device))


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_quick_is_a_part_of_standard_with_every_kernel(device: str) -> None:
    standard, quick = (suite_cases(suite, _changed(device=device)) for suite in ("standard", "quick"))
    assert set(quick) < set(standard)
    assert len(quick) < 0.4 * len(standard)
    assert {case.kernel for case in quick} >= {"gemm", "decode_attention", "prefill_attention", "memory_copy"}


def test_the_standard_suite_has_every_pattern_and_both_caches() -> None:
    cases = suite_cases("standard", _changed(count=2, libraries={"flash_attn": "2.8"}))
    folder = Path(environment_module.__file__).parent / "kernels"
    shared = {"__init__", "case", "trial", "rotary", "split_softmax", "widen"}
    assert {case.pattern for case in cases} == {path.stem for path in folder.glob("*.py")} - shared
    assert {case.pattern for case in cases} >= TRITON_PATTERNS
    for kernel in ("memory_copy", "decode_attention"):
        assert {case.cache for case in cases if case.kernel == kernel} == {"cold", "warm"}
    assert {case.num_gpus for case in cases if case.kernel == "all_reduce"} == {2}
    assert [case for case in suite_cases("standard", HERE) if case.kernel == "all_reduce"] == []


def test_a_gpu_without_8_bit_floats_is_not_asked_for_them() -> None:
    older = suite_cases("standard", _changed(capability="8.0"))
    assert [case for case in older if "fp8" in (case.dtype, case.kv_dtype)] == []
    assert [case for case in suite_cases("standard", HERE) if case.dtype == "fp8"] != []


def test_the_columns_of_a_case_are_those_that_predict_knows() -> None:
    named = {name for case in suite_cases("standard", HERE) for name, value in vars(case).items() if value is not None}
    assert named - {"pattern", "options"} <= set(COLUMNS)


def test_triton_kernels_are_left_out_where_they_cannot_run() -> None:
    own = Case("paged_decode", "decode_attention", "kvwall")
    assert cannot_run(own, HERE, has_triton=True) is None
    assert cannot_run(own, HERE, has_triton=False) == "needs triton: pip install triton"
    assert cannot_run(own, _changed(device="cpu"), has_triton=True) == "a Triton kernel needs a GPU"
    assert cannot_run(Case("gemm", "gemm"), HERE, has_triton=False) is None


def test_a_smaller_case_halves_what_is_largest() -> None:
    case = Case("paged_decode", "decode_attention", batch=4, q_len=1, kv_len=1000)
    smaller = case.smaller
    assert smaller is not None
    assert (smaller.batch, smaller.kv_len) == (2, 1000)
    one = Case("dense_attention", "prefill_attention", batch=1, q_len=1000, kv_len=1000).smaller
    assert one is not None
    assert (one.q_len, one.kv_len) == (500, 500)
    assert Case("launch", "launch").smaller is None


# ---- what is missing


def test_without_torch_one_line_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment_module, "find_spec", lambda name: None)
    assert main(["measure", "--device", "cpu", "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        "kvwall: measuring needs torch, which is not installed: pip install 'kvwall[gpu]'\n"
    )
    assert not (tmp_path / "out").exists()


@needs_torch
def test_without_a_gpu_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "__version__", "2.13.0+cpu")
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(InputError) as error:
        require_device("cuda")
    assert str(error.value) == (
        "--device cuda: torch 2.13.0+cpu (built without CUDA) sees no GPU: "
        "pip install --force-reinstall torch for a build with CUDA, or measure with --device cpu"
    )


def test_bad_options_are_one_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["-o", str(tmp_path / "out")]
    assert main(["measure", "--device", "tpu", *out]) == 2
    assert main(["measure", "--time-limit", "0", *out]) == 2
    assert main(["measure"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "kvwall: --device 'tpu': allowed are cuda, cpu",
        "kvwall: --time-limit 0: expected a positive number of seconds",
        "kvwall: Missing option '-o' / '--output' (see kvwall measure --help)",
    ]


def test_an_unknown_suite_names_the_nearest() -> None:
    with pytest.raises(InputError) as error:
        suite_cases("standart", HERE)
    assert str(error.value) == ("unknown suite 'standart'; did you mean 'standard'? (allowed: quick, standard, tiny)")


def test_libraries_that_are_not_installed_are_not_asked_for() -> None:
    assert set(installed_libraries()) <= {"flash_attn", "flashinfer", "vllm", "xformers"}


def test_the_schema_is_told() -> None:
    assert {"points_csv", "remaining", "left_out", "environment"} <= set(schema("measure")["required"])


# ---- the machine


def test_the_last_level_cache_is_the_largest_that_the_kernel_lists(tmp_path: Path) -> None:
    for index, size in enumerate(("48K\n", "2048K\n", "36M\n")):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        (folder / "size").write_text(size)
    assert cpu_cache_bytes(tmp_path) == 36 * 2**20
    assert cpu_cache_bytes(tmp_path / "missing") == 64e6


def test_what_others_took_is_what_was_used_and_not_by_this_program(tmp_path: Path) -> None:
    # 10 s on 2 processors: 14 s of work, of which 9 s one's own, so others took 5 of 20 s.
    assert Used(30.0, 114.0, 19.0).others_since(Used(20.0, 100.0, 10.0), 2) == 0.25
    assert Used(30.0, 105.0, 19.0).others_since(Used(20.0, 100.0, 10.0), 2) == 0.0
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 20 30 900 50 1 2 3 0 0\ncpu0 1 2 3\n")
    found = used_until_now(stat)
    assert found is not None
    assert found.all_s == 156 / os.sysconf("SC_CLK_TCK")  # all but the 900 idle and the 50 waiting
    assert used_until_now(tmp_path / "missing") is None
    assert others_share(None, found) is None


def test_points_of_another_driver_do_not_belong_together() -> None:
    assert HERE.differs_from(_changed(clocks="1410 MHz", started="later")) is None
    assert HERE.differs_from(_changed(driver="570.0")) == "driver '570.0', this run has '580.1'"


# ---- points on disk


def test_a_torn_last_line_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "points.jsonl"
    path.write_text('{"key":"a","latency_us":1.0}\n{"key":"b","late')
    points = PointsFile(path)
    assert list(points.points) == ["a"]
    points.append({"key": "b", "latency_us": 2.0})
    path.write_text(path.read_text().replace('{"key":"b","late\n', ""))
    assert [point["latency_us"] for point in PointsFile(path).points.values()] == [1.0, 2.0]


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "points.jsonl"
    path.write_text('{"key":"a"}\nnonsense\n{"key":"b"}\n')
    with pytest.raises(InputError) as error:
        PointsFile(path)
    assert str(error.value) == f"{path}: line 2: not a measured point (move the file away to start anew)"


# ---- campaigns, with torch on the CPU


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "points.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are not looked at: a few samples will do, however uneven."""
    pytest.importorskip("torch")
    from kvwall.validate import campaign as campaign_module
    from kvwall.validate import measure as measure_module

    monkeypatch.setattr(measure_module, "BUDGETS_S", {"cpu": 1e-4})
    monkeypatch.setattr(campaign_module, "WIDEST_SPREAD", float("inf"))
    monkeypatch.setattr(environment_module, "_CACHE_FILES", "/nowhere")
    monkeypatch.setattr(environment_module, "_CPU_CACHE_BYTES", 1e5)


@needs_torch
@pytest.mark.usefixtures("quickly")
def test_a_tiny_campaign_gives_a_table_that_predict_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "points"
    arguments = ["measure", "--device", "cpu", "--suite", "tiny", "-o", str(folder), "--name", "cpu-2s-epyc-9654"]
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert (answer["measured"], answer["remaining"], answer["failed"]) == (12, 0, [])
    assert answer["left_out"] == {"a Triton kernel needs a GPU": 8}
    assert len(captured.err.splitlines()) == 12
    assert answer["device_yaml"] is None
    assert not (folder / "device.yaml").exists()
    rows = _rows(folder)
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 12
    assert all(float(row["latency_us"]) > 0 for row in rows)
    assert {row["cache"] for row in rows} == {"cold", "warm"}
    assert {row["gpu"] for row in rows} == {"cpu-2s-epyc-9654"}
    assert {(row["source"], row["source_version"]) for row in rows} == {
        (f"kvwall measure {answer['kvwall_version']}", answer["environment"]["torch"])
    }
    extra = dict(pair.split("=") for pair in next(row for row in rows if row["kernel"] == "gemm")["extra"].split(";"))
    assert extra["flops"] == str(2 * 32 * 64 * 128)
    assert extra["method"] == "clock"
    found = predict(folder / "points.csv")
    assert {row["kernel"] for row in rows} <= set(KERNELS)
    assert (found.rows, found.predicted) == (12, 12)


@needs_torch
@pytest.mark.usefixtures("quickly")
def test_a_campaign_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kvwall.validate.campaign import Campaign

    point, count = Campaign.point, [0]

    def interrupted(self: Campaign, case: Case) -> dict[str, Any]:
        count[0] += 1
        if count[0] == 4:
            raise KeyboardInterrupt
        return point(self, case)

    monkeypatch.setattr(Campaign, "point", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path, "cpu", "tiny")
    assert len(_rows(tmp_path)) == 3
    answer = measure(tmp_path, "cpu", "tiny")
    assert (answer.resumed, answer.measured, answer.points) == (3, 9, 12)
    again = measure(tmp_path, "cpu", "tiny")
    assert (again.resumed, again.measured, again.points) == (12, 0, 12)
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 3


@needs_torch
@pytest.mark.usefixtures("quickly")
def test_uneven_times_are_told_and_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kvwall.validate import campaign as campaign_module

    monkeypatch.setattr(campaign_module, "WIDEST_SPREAD", -1.0)  # every spread is too wide
    first = measure(tmp_path, "cpu", "tiny")
    assert first.flagged == {"unsteady": 12}
    assert (
        "12 times spread by more than themselves: fits leave them out, the same command takes them again"
        in first.warnings
    )
    monkeypatch.setattr(campaign_module, "WIDEST_SPREAD", float("inf"))
    second = measure(tmp_path, "cpu", "tiny")
    assert (second.resumed, second.measured, second.flagged) == (0, 12, {})


@needs_torch
@pytest.mark.usefixtures("quickly")
def test_a_campaign_without_time_says_what_is_left(tmp_path: Path) -> None:
    answer = measure(tmp_path, "cpu", "tiny", time_limit_s=1e-9)
    assert (answer.measured, answer.remaining) == (0, 12)
    assert "12 cases are left: run the same command again to go on" in answer.warnings
    assert answer.says_no == "no point was measured (a Triton kernel needs a GPU)"


@needs_torch
@pytest.mark.usefixtures("quickly")
def test_a_folder_of_other_software_is_refused(tmp_path: Path) -> None:
    measure(tmp_path, "cpu", "tiny", time_limit_s=1e-9)
    path = tmp_path / "environment.json"
    here = json.loads(path.read_text())
    path.write_text(json.dumps({**here, "torch": "1.0"}))
    with pytest.raises(InputError) as error:
        measure(tmp_path, "cpu", "tiny")
    assert str(error.value) == (
        f"{tmp_path}: holds points of torch '1.0', this run has {here['torch']!r}; give another folder with -o"
    )


@pytest.fixture
def campaign() -> Any:
    pytest.importorskip("torch")
    from kvwall.validate.campaign import Campaign
    from kvwall.validate.correctness import Checker
    from kvwall.validate.timing import CpuClock

    here = _changed(device="cpu", gpu="h100-sxm5-80gb")
    return Campaign(here, CpuClock(1e5), Checker("cpu", 1), seed=1, budget_s=1e-4)


COPY = Case("memory_copy", "memory_copy", dtype="fp32", message_bytes=4096, cache="warm")


def test_a_case_that_does_not_fit_is_halved_and_marked(campaign: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from kvwall.validate.kernels import memory_copy

    prepare = memory_copy.prepare

    def small_memory(case: Case, source: Any) -> Any:
        if case.size("message_bytes") > 1500:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 4096 bytes")
        return prepare(case, source)

    monkeypatch.setattr(memory_copy, "prepare", small_memory)
    point = campaign.point(COPY)
    assert point["message_bytes"] == 1024
    assert point["key"] == COPY.key
    assert "asked_message_bytes=4096" in point["extra"]


def test_a_kernel_that_fails_or_is_wrong_does_not_stop_the_others(
    campaign: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from dataclasses import replace

    from kvwall.validate.kernels import gemm, launch, memory_copy

    def broken(case: Case, source: Any) -> Any:
        raise RuntimeError("no kernel image is available\nfor this device")

    def wrong(case: Case, source: Any) -> Any:
        trial = honest(case, source)
        return replace(trial, run=lambda: trial.run() * 1.5)

    honest = gemm.prepare
    monkeypatch.setattr(launch, "prepare", broken)
    monkeypatch.setattr(gemm, "prepare", wrong)
    cases = [Case("launch", "launch"), Case("gemm", "gemm", dtype="fp32", m=8, n=8, k=8), COPY]
    points, lines = PointsFile(tmp_path / "points.jsonl"), []
    assert campaign.run(cases, points, float("inf"), lines.append) == []
    failed = [point.get("failed") for point in points.points.values()]
    assert failed == [
        "RuntimeError: no kernel image is available", "wrong result: error 0.5, allowed 0.002", None
    ]  # fmt: skip
    assert lines[0] == "1/3 torch launch bf16 cold: RuntimeError: no kernel image is available"
    assert memory_copy.prepare is not broken


def test_a_dead_device_ends_the_campaign_and_its_case_is_not_tried_again(
    campaign: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from kvwall.validate.campaign import ContextLostError
    from kvwall.validate.kernels import launch

    def deadly(case: Case, source: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    from kvwall.validate import campaign as campaign_module

    monkeypatch.setattr(launch, "prepare", deadly)
    monkeypatch.setattr(campaign_module, "device_answers", lambda: True)
    assert not campaign.point(Case("launch", "launch"))["lost"]
    monkeypatch.setattr(campaign_module, "device_answers", lambda: False)
    points = PointsFile(tmp_path / "points.jsonl")
    with pytest.raises(ContextLostError, match="illegal memory access"):
        campaign.run([Case("launch", "launch"), COPY], points, float("inf"), lambda line: None)
    assert list(PointsFile(tmp_path / "points.jsonl").points) == [Case("launch", "launch").key]


def test_times_that_the_data_sheet_forbids_are_flagged(campaign: Any) -> None:
    from kvwall.hardware.device import DEVICES
    from kvwall.validate.campaign import flag_of
    from kvwall.validate.kernels.case import load_pattern
    from kvwall.validate.kernels.trial import Source
    from kvwall.validate.timing import Timing

    def took(seconds: float, spread: float = 0.0) -> Timing:
        return Timing(seconds, seconds, seconds * (1 + spread), 9, "graph", 1)

    h100 = DEVICES.load("h100")
    cold = Case("memory_copy", "memory_copy", message_bytes=2**20)
    trial = load_pattern("memory_copy").prepare(cold, Source("cpu", 0))
    # What is written fits the cache of 50 MiB and may stay there: only 2^20 bytes must have come from memory.
    fastest_s = 2**20 / 3.35e12
    assert flag_of(cold, took(1.01 * fastest_s), trial, h100) == ""
    assert flag_of(cold, took(0.95 * fastest_s), trial, h100) == "above_hbm_peak"
    warm = Case("memory_copy", "memory_copy", cache="warm")
    assert flag_of(warm, took(0.95 * fastest_s), trial, h100) == "l2_resident"
    assert flag_of(cold, took(0.95 * fastest_s), trial, None) == ""
    product = Case("gemm", "gemm", m=512, n=512, k=512)
    square = load_pattern("gemm").prepare(product, Source("cpu", 0))
    # 3 x 512 x 512 numbers of 2 bytes take 0.47 us, 2 x 512^3 operations 0.27 us: the memory is told first.
    assert flag_of(product, took(0.5 * 2 * 512**3 / 989e12), square, h100) == "above_hbm_peak"


def test_a_time_that_spreads_by_more_than_itself_is_flagged(campaign: Any) -> None:
    from kvwall.validate.campaign import flag_of
    from kvwall.validate.timing import Timing

    case = Case("gemm", "gemm", m=8, n=8, k=8)
    assert flag_of(case, Timing(1.0, 0.9, 1.8, 9, "clock", 1), None, None) == ""
    assert flag_of(case, Timing(1.0, 0.9, 2.0, 9, "clock", 1), None, None) == "unsteady"
