"""Decode attention: plans by the libraries' rules, times against public kernel tables, and what must hold anywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kvwall.hardware.calibration import kernel_fits
from kvwall.hardware.device import DEVICES
from kvwall.simulator.kernel_time.attention import ATTENTION_FAMILIES, family_for
from kvwall.simulator.kernel_time.decode_plans import (
    flash2_plan,
    flash2_splits,
    flash3_plan,
    mmha_plan,
    uses_xqa,
    xqa_hopper_plan,
    xqa_plan,
)
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.kernel_time.points import Points

H100, A100 = DEVICES.load("h100-sxm5-80gb"), DEVICES.load("a100-sxm4-80gb")
DECODE = sorted(name for name, family in ATTENTION_FAMILIES.items() if family.kernel == "decode_attention")

#: Warm decode of ai-dynamo/aiconfigurator at 095f58a51 (Apache-2.0): device, framework, cache, shape, microseconds.
MEASURED = [
    ("h100-sxm5-80gb", "vllm", "bf16", (1, 12, 4, 128, 64), 11.8),
    ("h100-sxm5-80gb", "vllm", "bf16", (16, 40, 2, 128, 64), 12.6),
    ("h100-sxm5-80gb", "vllm", "bf16", (8, 6, 1, 128, 8192), 20.0),
    ("h100-sxm5-80gb", "vllm", "bf16", (64, 40, 1, 64, 8192), 60.4),
    ("h100-sxm5-80gb", "vllm", "bf16", (8, 32, 8, 64, 32768), 185.8),
    ("h100-sxm5-80gb", "vllm", "fp8", (1, 48, 4, 64, 64), 11.0),
    ("h100-sxm5-80gb", "vllm", "fp8", (8, 40, 1, 64, 1024), 13.5),
    ("h100-sxm5-80gb", "vllm", "fp8", (8, 64, 4, 192, 2048), 29.7),
    ("h100-sxm5-80gb", "vllm", "fp8", (32, 8, 1, 192, 16384), 120.0),
    ("h100-sxm5-80gb", "vllm", "fp8", (8, 8, 8, 64, 32768), 123.9),
    ("a100-sxm4-80gb", "vllm", "bf16", (1, 8, 1, 128, 4), 12.3),
    ("a100-sxm4-80gb", "vllm", "bf16", (1, 24, 1, 128, 1024), 19.0),
    ("a100-sxm4-80gb", "vllm", "bf16", (32, 64, 1, 128, 8), 13.7),
    ("a100-sxm4-80gb", "vllm", "bf16", (16, 64, 1, 128, 2048), 30.8),
    ("a100-sxm4-80gb", "vllm", "bf16", (8, 8, 8, 128, 8192), 204.5),
    ("h100-sxm5-80gb", "trtllm", "bf16", (16, 20, 4, 128, 4), 9.7),
    ("h100-sxm5-80gb", "trtllm", "bf16", (64, 40, 8, 128, 16), 25.1),
    ("h100-sxm5-80gb", "trtllm", "bf16", (4, 32, 8, 64, 16384), 69.7),
    ("h100-sxm5-80gb", "trtllm", "bf16", (16, 40, 8, 128, 4096), 105.8),
    ("h100-sxm5-80gb", "trtllm", "bf16", (64, 32, 8, 64, 4096), 191.7),
]


def points(batch, q_heads, kv_heads, head_dim, kv_len, warm=1.0, window=0.0) -> Points:
    return Points(
        batch=batch, kv_len=kv_len, q_heads=q_heads, kv_heads=kv_heads, head_dim=head_dim, value_dim=head_dim,
        window=window, warm=warm,
    )  # fmt: skip


def seconds(device_name, framework, cache, shapes: Points) -> float:
    device = DEVICES.load(device_name)
    name = str(family_for("decode_attention", device, framework, "bf16", cache, shapes))
    fit = kernel_fits(device_name, framework)[name]
    return float(ATTENTION_FAMILIES[name].seconds(shapes, fit.parameters, machine_of(device)))


@pytest.mark.parametrize(("device", "framework", "cache", "shape", "measured_us"), MEASURED)
def test_a_public_kernel_table_is_met_within_8_percent(device, framework, cache, shape, measured_us):
    assert seconds(device, framework, cache, points(*shape)) * 1e6 == pytest.approx(measured_us, rel=0.08)


def test_flash3_pays_one_wave_overhead_per_132_thread_blocks_although_next_to_nothing_is_read():
    short = [seconds("h100-sxm5-80gb", "vllm", "bf16", points(64, 8 * w, w, 128, 64)) * 1e6 for w in (2, 4, 8)]
    one, two, four = short
    assert two - one == pytest.approx(4.4, abs=0.8)
    assert four - one == pytest.approx(11.5, abs=1.5)


def test_flash3_pays_for_combining_splits_from_the_second_kv_block_on():
    one, two = (seconds("h100-sxm5-80gb", "vllm", "bf16", points(1, 8, 2, 128, n)) * 1e6 for n in (128, 256))
    assert two - one == pytest.approx(1.5, abs=0.5)


def test_flash2_pays_copies_only_with_groups_and_several_sequences_and_several_kv_heads():
    def time_us(batch, q_heads, kv_heads):
        return seconds("a100-sxm4-80gb", "vllm", "bf16", points(batch, q_heads, kv_heads, 128, 64)) * 1e6

    assert time_us(1, 32, 8) == pytest.approx(12.6, rel=0.04)
    assert time_us(2, 32, 8) == pytest.approx(18.5, rel=0.04)
    assert time_us(1, 8, 8) == pytest.approx(10.8, rel=0.06)


def test_flash2_never_splits_without_groups():
    alone = flash2_plan(points(1, 8, 8, 128, 8192), machine_of(A100))
    grouped = flash2_plan(points(1, 64, 8, 128, 8192), machine_of(A100))
    assert (float(alone.thread_blocks), float(alone.splits), float(alone.steps)) == (8, 1, 64)
    assert float(grouped.splits) > 1


def test_flash2_splits_are_the_fewest_that_fill_85_percent_of_the_best():
    # 8 pieces, 216 slots, 64 blocks: 22 splits of 3 blocks fill 176 of 216 (0.81), 32 of 2 blocks 256 of 432 (0.59);
    # none that is distinct fills more than 22 do, and 20 (of 4 blocks) would repeat 16.
    assert float(flash2_splits(8.0, 216.0, 64.0)) == 22
    assert float(flash2_splits(180.0, 216.0, 64.0)) == 1
    assert flash2_splits(np.array([8.0, 180.0]), 216.0, np.array([64.0, 64.0])).tolist() == [22, 1]


def test_flash3_fills_the_device_with_a_margin_of_a_tenth_and_at_most_32_splits():
    plan = flash3_plan(points(1, 8, 1, 128, 32768), machine_of(H100), 128.0)
    assert (float(plan.splits), float(plan.steps)) == (32, 8)
    wide = flash3_plan(points(64, 64, 8, 128, 4096), machine_of(H100), 128.0)
    assert float(wide.splits) == 1


def test_xqa_takes_one_wave_on_16_bits_and_up_to_eight_on_fp8():
    long = points(1, 8, 1, 128, 32768)
    assert float(xqa_plan(long, machine_of(H100)).thread_blocks) <= 132
    # 256 parts of 128 tokens; the root of 8 x 256 is 45.25.
    assert float(xqa_hopper_plan(long, machine_of(H100)).splits) == 45


def test_mmha_uses_wide_thread_blocks_for_few_heads_and_splits_only_below_one_wave():
    few, many = (mmha_plan(points(1, heads, heads, 128, 8192), machine_of(H100)) for heads in (16, 1024))
    assert (float(few.step_tokens), float(few.splits), float(few.residents)) == (512, 9, 1)
    assert (float(many.step_tokens), float(many.splits), float(many.residents)) == (128, 1, 4)
    long = mmha_plan(points(16, 12, 12, 128, 32768), machine_of(H100))
    assert float(long.residents) == 1


def test_trtllm_leaves_its_tensor_cores_for_few_short_sequences_and_for_groups_above_32():
    def xqa(q_heads, kv_len, fp8=False):
        return bool(uses_xqa(points(1, q_heads, 8, 128, kv_len), fp8, 132))

    assert [xqa(32, 512), xqa(32, 1024), xqa(32, 512, fp8=True)] == [False, True, True]
    assert [xqa(8, 8192), xqa(256, 8192), xqa(320, 8192)] == [False, True, False]


def test_trtllm_can_be_slower_on_a_shorter_context():
    short, long = (seconds("h100-sxm5-80gb", "trtllm", "bf16", points(1, 32, 8, 128, n)) for n in (512, 1024))
    assert short > 1.2 * long


def test_an_fp8_cache_gains_less_than_half_and_loses_at_head_dim_256():
    def ratio(head_dim):
        shape = points(8, 32, 8, head_dim, 32768, warm=0.0)
        return seconds("h100-sxm5-80gb", "vllm", "bf16", shape) / seconds("h100-sxm5-80gb", "vllm", "fp8", shape)

    assert ratio(128) == pytest.approx(1.75, abs=0.12)
    assert ratio(64) == pytest.approx(1.55, abs=0.12)
    assert ratio(256) < 1.0


@pytest.mark.parametrize("name", DECODE)
@pytest.mark.parametrize("device", ["h100-sxm5-80gb", "l4", "mi300x", "h20-96gb"])
def test_a_cold_cache_is_never_faster_than_the_data_sheet_and_never_than_a_warm_one(name, device):
    family, machine = ATTENTION_FAMILIES[name], machine_of(DEVICES.load(device))
    best = {p.name: p.high if p.name.endswith(("fraction", "share")) else p.low for p in family.parameters}
    kv_len = np.geomspace(1, 1_000_000, 40)
    for batch, q_heads, kv_heads, head_dim in ((1, 32, 8, 128), (64, 8, 8, 64), (8, 128, 1, 256), (256, 64, 64, 192)):
        shapes = points(batch, q_heads, kv_heads, head_dim, kv_len, warm=0.0)
        cold = family.seconds(shapes, best, machine)
        assert np.all(cold >= family.ideal_seconds(shapes, machine))
        assert np.all(family.seconds(replace(shapes, warm=1.0), best, machine) <= cold * 1.006)


@pytest.mark.parametrize("name", DECODE)
def test_cold_time_hardly_falls_with_the_context_and_grows_with_the_batch(name):
    family, machine = ATTENTION_FAMILIES[name], machine_of(H100)
    defaults = {p.name: p.default for p in family.parameters}
    kv_len = np.array([16.0, 256, 1024, 4096, 16384, 65536, 262144])
    times = family.seconds(points(8, 32, 8, 128, kv_len, warm=0.0), defaults, machine)
    assert np.all(times[1:] > 0.93 * times[:-1])
    batches = family.seconds(points(2.0 ** np.arange(9), 32, 8, 128, 8192, warm=0.0), defaults, machine)
    assert np.all(batches[1:] > batches[:-1])


@pytest.mark.parametrize("name", DECODE)
def test_an_array_holds_the_cells_of_scalar_calls(name):
    family, machine = ATTENTION_FAMILIES[name], machine_of(H100)
    defaults = {p.name: p.default for p in family.parameters}
    kv_len = np.array([3.0, 700, 5000, 40000])
    many = family.seconds(points(np.array([1.0, 2, 16, 64]), 32, 8, 128, kv_len), defaults, machine)
    shapes = zip([1.0, 2, 16, 64], kv_len, strict=True)
    one = [float(family.seconds(points(b, 32, 8, 128, n), defaults, machine)) for b, n in shapes]
    assert many.tolist() == pytest.approx(one, rel=1e-12)


@pytest.mark.parametrize("name", DECODE)
def test_a_window_costs_what_a_context_of_its_length_costs(name):
    family, machine = ATTENTION_FAMILIES[name], machine_of(H100)
    defaults = {p.name: p.default for p in family.parameters}
    windowed = family.seconds(points(8, 32, 8, 128, 65536.0, window=4096.0), defaults, machine)
    assert float(windowed) == pytest.approx(float(family.seconds(points(8, 32, 8, 128, 4096.0), defaults, machine)))


def test_a_family_has_at_most_eight_fitted_numbers_each_within_its_bounds():
    for family in ATTENTION_FAMILIES.values():
        assert len(family.parameters) <= 8
        assert all(p.low < p.default < p.high and p.meaning and p.unit in ("us", "1") for p in family.parameters)
