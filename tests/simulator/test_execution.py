"""What a scheme may change of how a step runs: shares of a device, stages, loads that schedules share."""

from __future__ import annotations

from typing import Any

import pytest

from kvwall.hardware.calibration import CALIBRATIONS
from kvwall.hardware.system import make_system
from kvwall.simulator.answers.step import step
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, Estimate, estimate
from kvwall.simulator.inquiry import Inquiry, resolve
from kvwall.simulator.prices import Prices
from kvwall.simulator.roofline import price
from kvwall.simulator.stack import parse_stack
from kvwall.simulator.traffic import Operator, Pipeline, Traffic, term


def test_a_share_divides_the_rate_of_its_resource_alone() -> None:
    """Half of the multiprocessors double the matrix time, a quarter of the bandwidth quadruples the memory time."""
    system, calibration = make_system("h100"), CALIBRATIONS.load("uncalibrated")
    whole, part = Prices(system, calibration), Prices(system, calibration, compute_share=0.5, memory_share=0.25)
    moved, multiplied = term("m", "hbm", "n", "r", n=1e9), term("x", "matrix", "n", "r", n=1e12)
    linked = term("l", "host link in", "n", "r", n=1e9)
    assert part.seconds("gemm", multiplied) == pytest.approx(2 * whole.seconds("gemm", multiplied))
    assert part.seconds("gemm", moved) == pytest.approx(4 * whole.seconds("gemm", moved))
    assert part.seconds("gemm", linked) == whole.seconds("gemm", linked)
    assert part.peaks.seconds("gemm", moved) == whole.peaks.seconds("gemm", moved)


def test_a_share_slows_calibrated_kernels_like_their_class() -> None:
    """On the kernels that a fit knows, a part of the device takes at least as long, and the bound stays."""

    def found(scheme: str) -> Estimate:
        setup = resolve(Inquiry(model="llama-3.1-8b", on="h100", scheme=scheme)).setup
        assert setup.kernels is not None
        return estimate(setup, Axes(32, 8192), keep_lines=False)

    whole, half, fifth = found("none"), found("nexus"), found("nexus:compute=1,memory=0.2")
    assert half.ideal_s == whole.ideal_s
    assert 1.5 < half.step_s.mid / whole.step_s.mid < 2.01
    assert 3.0 < fifth.step_s.mid / whole.step_s.mid < 5.01


def test_parts_of_a_batch_wait_for_the_slowest_stage() -> None:
    """61 layers of 1 s on two stages (31 and 30), a head of 4 s on the last: both parts take 2 max(31, 30 + 4)."""
    stages = Pipeline(2.0, 31 / 61, 30 / 61)
    assert stages.slowest(61.0, 4.0) == pytest.approx(68.0)
    assert stages.slowest(61.0, 0.5) == pytest.approx(62.0)


def test_the_wait_for_a_stage_is_a_line_of_the_bill() -> None:
    prices = Prices(make_system("h100"), None)
    layers = Operator("feed-forward", "layers", "gemm", (term("w", "hbm", "n", "r", n=3.35e12 * 10),))
    head = Operator("head", "LM head", "gemm", (term("w", "hbm", "n", "r", n=3.35e12 * 3),))
    bill = price(Traffic((layers, head), pipeline=Pipeline(2.0, 0.5, 0.5)), prices, keep_lines=True)
    assert bill.step_s == pytest.approx(16.0)  # 2 (10 / 2 + 3) against 13 on the path
    waits = [line for line in bill.lines if line.term.name == "wait for the slowest stage"]
    assert [float(line.charged_s) for line in waits] == [pytest.approx(3.0)]


def test_stages_that_share_the_vocabulary_hold_equal_parts_of_both_tables(setup_of: Any) -> None:
    """Llama-3.1-8B on four stages: 2 x 1,050,673,152 / 4 instead of one table on each end."""
    words: dict[str, Any] = {"on": "h100:4", "split": {"tp": 1, "pp": 4}, "engine": "none"}
    split = Capacity(setup_of(scheme="vocabulary_parallel", **words), 8192).weights_arithmetic_bytes
    ends = Capacity(setup_of(**words), 8192).weights_arithmetic_bytes
    assert ends - split == pytest.approx(1_050_673_152 / 2)


def test_a_window_of_weights_is_what_stays_of_them(setup_of: Any) -> None:
    """80 layers of 855,638,016 parameters over 8 ranks and two norms of 8192: two blocks are one layer."""
    words: dict[str, Any] = {"on": "h100:8", "engine": "none", "model": "llama-3.1-70b"}
    whole = Capacity(setup_of(**words), 8192).weights_arithmetic_bytes
    for window, layers in ((2, 1), (8, 4)):
        held = Capacity(setup_of(scheme=f"tpi_llm:window={window}", **words), 8192).weights_arithmetic_bytes
        assert whole - held == pytest.approx((80 - layers) * (855_638_016 * 2 / 8 + 2 * 8192 * 2))


def test_pruned_experts_leave_the_device(setup_of: Any) -> None:
    """Qwen3-30B-A3B: 64 of 128 experts of 4,718,592 parameters in 48 layers, and 64 columns of the router."""
    whole = Capacity(setup_of("qwen3-30b-a3b", engine="none"), 8192).weights_arithmetic_bytes
    pruned = Capacity(setup_of("qwen3-30b-a3b", "premoe", engine="none"), 8192).weights_arithmetic_bytes
    assert whole - pruned == pytest.approx(2 * 48 * 64 * (4_718_592 + 2048))


def test_a_zigzag_schedule_loads_once_for_all_blocks(setup_of: Any) -> None:
    """Four blocks read the weights on the device four times and over the host link once."""
    axes = Axes(64, 1024)
    one = estimate(setup_of(scheme="flexgen:wg=0,cg=100", engine="none"), axes)
    four = estimate(setup_of(scheme="flexgen:wg=0,cg=100,blocks=4", engine="none"), axes)
    assert four.host_link_bytes == pytest.approx(one.host_link_bytes)
    head = 1_050_673_152
    assert four.weights_read_bytes - head == pytest.approx(4 * (one.weights_read_bytes - head))


def test_a_controller_computes_what_the_load_hides(setup_of: Any) -> None:
    """CacheBlend's automatic ratio: a slow drive lets more be computed, and the prefill is no longer for it."""
    words: dict[str, Any] = {"on": "h100", "phase": "prefill", "batch": [1], "context": [32768]}
    slow = step("llama-3.1-8b", scheme="cacheblend:recompute=auto,to=ssd", set=("system.host.ssd_bandwidth=6 GB/s",),
                **words)  # fmt: skip
    least = step("llama-3.1-8b", scheme="cacheblend:recompute=0.15,to=ssd", set=("system.host.ssd_bandwidth=6 GB/s",),
                 **words)  # fmt: skip
    ratio = float(slow.scheme.partition("recompute=")[2].partition(",")[0])
    assert 0.3 < ratio < 0.95
    assert slow.points[0].step_s.mid == pytest.approx(least.points[0].step_s.mid, rel=0.02)


def test_two_free_parameters_are_settled_together() -> None:
    """What pricing finds is no slower than any corner that fits."""
    words: dict[str, Any] = {"on": "l4", "batch": [8], "context": [8192]}
    chosen = step("llama-3.1-8b", scheme="flexgen:wg=auto,cg=auto", **words)
    assert chosen.points[0].fits
    for wg in (0, 50, 100):
        for cg in (0, 50, 100):
            point = step("llama-3.1-8b", scheme=f"flexgen:wg={wg},cg={cg}", **words).points[0]
            assert not point.fits or chosen.points[0].step_s.mid <= point.step_s.mid * (1 + 1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flexgen:wg=60,wc=50", r"wg and wc are 60 \+ 50, more than 100 percent"),
        ("tpi_llm:window=1", "window"),
        ("premoe:keep=0", "keep"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(Exception, match=message) as raised:
        parse_stack(text)
    assert "\n" not in str(raised.value)
