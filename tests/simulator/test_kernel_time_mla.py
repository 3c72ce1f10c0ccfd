"""Decode over a latent cache: FlashMLA's plan and times against public kernel tables."""

from __future__ import annotations

import numpy as np
import pytest

from kvwall.hardware.calibration import kernel_fits
from kvwall.hardware.device import DEVICES
from kvwall.simulator.kernel_time.attention import ATTENTION_FAMILIES
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.kernel_time.mla import latent_plan
from kvwall.simulator.kernel_time.points import Points

MACHINE = machine_of(DEVICES.load("h100-sxm5-80gb"))
FITS = kernel_fits("h100-sxm5-80gb", "trtllm")

#: Warm decode of ai-dynamo/aiconfigurator at 095f58a51 (Apache-2.0): batch, heads, context, microseconds.
MEASURED = [
    (1, 8, 2, 13.7), (32, 1, 4, 14.2), (64, 2, 16, 14.0), (64, 32, 64, 15.1), (64, 1, 512, 27.4), (16, 1, 4096, 41.9)
]  # fmt: skip


def points(batch, heads, kv_len, warm=1.0) -> Points:
    return Points(batch=batch, q_heads=heads, kv_heads=1.0, kv_len=kv_len, head_dim=576.0, value_dim=512.0, warm=warm)


def seconds(batch, heads, kv_len, warm=1.0, dtype="bf16"):
    name = f"mla-decode/{dtype}"
    return ATTENTION_FAMILIES[name].seconds(points(batch, heads, kv_len, warm), FITS[name].parameters, MACHINE)


@pytest.mark.parametrize(("batch", "heads", "kv_len", "measured_us"), MEASURED)
def test_a_public_kernel_table_is_met_within_5_percent(batch, heads, kv_len, measured_us):
    assert float(seconds(batch, heads, kv_len)) * 1e6 == pytest.approx(measured_us, rel=0.05)


def test_blocks_are_dealt_out_evenly_with_five_extra_per_sequence():
    # 32 sequences of 4 + 5 blocks over 132 parts: 3 blocks each, so every sequence is cut in two.
    plan = latent_plan(points(32, 16, 256.0), MACHINE)
    assert (float(plan.steps), float(plan.splits)) == (3, 2)
    # 128 heads take two tiles, which leaves 66 parts for 64 sequences of 133: 129 blocks, more than one has.
    plan = latent_plan(points(64, 128, 8192.0), MACHINE)
    assert (float(plan.steps), float(plan.splits)) == (128, 1)
    # More sequences than parts: a part takes several.
    plan = latent_plan(points(264, 16, 640.0), MACHINE)
    assert (float(plan.steps), float(plan.thread_blocks)) == (30, 88)


def test_one_to_sixty_four_heads_cost_nearly_the_same_and_the_next_tile_does_not():
    one, many, two_tiles = (float(seconds(64, heads, 8192.0, warm=0.0)) for heads in (1, 64, 128))
    assert many < 1.1 * one
    assert two_tiles > 1.3 * one


def test_a_nearly_empty_last_block_is_masked_at_a_cost():
    assert float(seconds(1, 8, 2.0)) > float(seconds(1, 8, 64.0)) + 1e-6


@pytest.mark.parametrize("dtype", ["bf16", "fp8"])
def test_a_cold_cache_is_never_faster_than_the_data_sheet(dtype):
    family = ATTENTION_FAMILIES[f"mla-decode/{dtype}"]
    best = {p.name: p.high if p.name == "l2_share" else p.low for p in family.parameters}
    for heads in (1, 16, 128):
        shapes = points(np.array([1.0, 16, 256]), heads, np.array([100.0, 8192, 500_000]), warm=0.0)
        assert np.all(family.seconds(shapes, best, MACHINE) >= family.ideal_seconds(shapes, MACHINE))


def test_time_grows_with_context_and_batch():
    assert np.all(np.diff(seconds(16, 16, 2.0 ** np.arange(9, 18), warm=0.0)) > 0)
    assert np.all(np.diff(seconds(2.0 ** np.arange(9), 16, 8192.0, warm=0.0)) > 0)


def test_an_array_holds_the_cells_of_scalar_calls():
    many = seconds(np.array([1.0, 40, 300]), 16, np.array([5.0, 900, 20000]))
    one = [float(seconds(b, 16, n)) for b, n in ((1.0, 5.0), (40.0, 900.0), (300.0, 20000.0))]
    assert many.tolist() == pytest.approx(one, rel=1e-12)
