"""Tests beyond the shapes of a fit, on synthetic points of kernels whose numbers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kvwall.hardware.device import DEVICES
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.choosing import Chooser, Fitted
from kvwall.simulator.predicting.families import families
from kvwall.simulator.predicting.lending import KNOWN_PLANS, carried
from kvwall.simulator.predicting.prediction import predict_kernels
from kvwall.simulator.predicting.table import Table
from kvwall.validate.calibrate import fitted
from kvwall.validate.extrapolation import beyond, new_kernel, unplanned
from kvwall.validate.generations import plans_borrowed
from kvwall.validate.known_plans import planned
from kvwall.validate.point_table import Sample

NAME = "decode/fa3-bf16"
FAMILY = families()[NAME]
TRUTH = {
    "launch_us": 9.0, "wave_us": 5.5, "step_us": 1.2, "fill_us": 3.0, "l2_share": 0.9, "combine_us": 1.8,
    "hbm_fraction": 0.85, "channel_conflict": 0.1,
}  # fmt: skip
LENDER = Fitted("lent", "h100-sxm5-80gb", "vllm", FAMILY, TRUTH, (0.05, 0.05, 0.05), n=100)


def sample(noise: float = 0.02) -> Sample:
    machine = machine_of(DEVICES.load("h100"))
    batch, kv_heads, kv_len = (
        axis.ravel() for axis in np.meshgrid([1.0, 4, 16, 64], [1.0, 8], 2.0 ** np.arange(5, 16), indexing="ij")
    )
    points = Points(
        batch=batch, kv_len=kv_len, kv_heads=kv_heads, q_heads=4 * kv_heads, q_len=np.ones(batch.size),
        head_dim=np.full(batch.size, 128.0), value_dim=np.full(batch.size, 128.0), warm=np.ones(batch.size),
    )  # fmt: skip
    clean = FAMILY.seconds(points, TRUTH, machine)
    ideal = FAMILY.ideal_seconds(points, machine)
    latency = clean * np.exp(noise * np.random.default_rng(3).standard_normal(clean.size))
    return Sample(
        "h100-sxm5-80gb", "mine", FAMILY, machine, points, latency, ("made up",), ("1",), 0, 0, ideal, ideal * 0
    )


@pytest.mark.parametrize(("column", "above", "least", "most"), [("kv_len", 32, 0.0, 0.06), ("batch", 22, 0.01, 0.3)])
def test_a_fit_to_small_shapes_is_held_against_large_ones(column: str, above: int, least: float, most: float) -> None:
    # Batches up to 16 hardly fill the device: what a further wave costs stays near its default, which is not the truth.
    found = beyond(sample(), column)
    assert found is not None
    assert (found.found.n, found.fitted) == (above, 88 - above)
    assert least < found.found.median < most


def test_a_limit_with_nothing_above_it_is_no_test() -> None:
    whole = sample()
    short = np.flatnonzero(np.asarray(whole.points.kv_len) <= 2048)
    assert beyond(replace(whole, points=whole.points.take(short), latency_s=whole.latency_s[short]), "kv_len") is None


def test_a_kernel_of_unknown_make_takes_the_plan_that_it_follows() -> None:
    unknown = replace(sample(), family=families()["decode/generic"])
    assert planned(unknown, ())[0].family.name == "decode/generic"
    made = fitted(unknown, "2026-01-01", (LENDER,))
    assert made.document.family == NAME
    assert made.row.median is not None
    assert made.row.median < 0.03
    assert made.row.note == f"follows the plan of {NAME} better than decode/generic"


def test_a_new_kernel_takes_no_plan_of_its_own_library() -> None:
    found = new_kernel(sample(), (LENDER,))
    assert found.plans == ("generic",)
    assert found.plan == pytest.approx(found.without, rel=0.01)
    assert found.own[0] < found.without[0]
    assert found.range[0] <= found.plan[0] <= found.range[1]
    assert found.n == 68


def test_every_family_has_one_without_a_plan() -> None:
    for plain, plans in KNOWN_PLANS.items():
        assert {unplanned(plan) for plan in plans} == {plain}
        assert plain in families()
        assert {families()[plan].kernel for plan in plans} == {families()[plain].kernel}


def test_times_follow_the_clock_and_shares_do_not() -> None:
    lent = carried(LENDER, FAMILY, "a100-sxm4-80gb")
    clocks = [machine_of(DEVICES.load(name)).clock_hz for name in ("h100-sxm5-80gb", "a100-sxm4-80gb")]
    assert lent["launch_us"] == pytest.approx(9.0 * (clocks[0] / clocks[1]) ** 0.75)
    assert lent["l2_share"] == TRUTH["l2_share"]
    assert lent["hbm_fraction"] == pytest.approx((0.85 * 0.9) ** 0.5)
    other = carried(LENDER, families()["decode/fa2-bf16"], "a100-sxm4-80gb")
    assert other["copy_us"] == 5.0


@pytest.mark.parametrize(
    ("gpu", "framework", "dtype", "note"),
    [
        ("a100", "vllm", "bf16", "borrowed from h100-sxm5-80gb (vllm, decode/fa3-bf16), another generation"),
        ("a100", "trtllm", "bf16", "no fit of decode/generic for this architecture: class defaults"),
        ("mi300x", "vllm", "bf16", "no fit of decode/generic for this architecture: class defaults"),
        ("b200", "vllm", "bf16", "borrowed from h100-sxm5-80gb (vllm, decode/fa3-bf16), the plan of another"),
    ],
)
def test_another_generation_lends_to_the_same_library_of_the_same_vendor(
    gpu: str, framework: str, dtype: str, note: str
) -> None:
    row = {"gpu": gpu, "framework": framework, "kernel": "decode_attention", "dtype": dtype, "batch": "4",
           "kv_len": "4096", "n_q_heads": "32", "n_kv_heads": "8", "head_dim": "128"}  # fmt: skip
    made = predict_kernels(Table("", tuple(row), {key: [cell] for key, cell in row.items()}, {}), Chooser((LENDER,)))
    assert made.note[0].startswith(note)


def test_a_band_beyond_the_fit_holds_more_than_one_that_does_not_grow() -> None:
    found = beyond(sample(), "batch")
    assert found is not None
    assert found.inside <= found.found.inside_band
    assert found.inside < 1


def test_devices_are_held_against_the_plan_of_another_generation() -> None:
    # Twelve decodes on an A100, whose own fits stay hidden: the H100 is the nearest with stacked memory.
    lengths = [str(2**n) for n in range(4, 16)]
    row = {"gpu": "a100", "framework": "vllm", "kernel": "decode_attention", "dtype": "bf16", "batch": "1",
           "n_q_heads": "32", "n_kv_heads": "8", "head_dim": "128", "flag": ""}  # fmt: skip
    cells = {**{key: [cell] * 12 for key, cell in row.items()}, "kv_len": lengths, "latency_us": ["20"] * 12}
    (found,) = plans_borrowed(Table("", tuple(cells), cells, {}))
    assert (found.device, found.lender, found.kernel) == (
        "a100-sxm4-80gb", "h100-sxm5-80gb", "decode_attention, cache bf16",
    )  # fmt: skip
    assert found.found.n == 12
    assert found.regime == "below 100 us"
