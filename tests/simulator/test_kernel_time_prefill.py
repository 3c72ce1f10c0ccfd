"""Prefill attention: tiles under the causal mask, times against public kernel tables, chunks and windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kvwall.hardware.calibration import kernel_fits
from kvwall.hardware.device import DEVICES
from kvwall.simulator.kernel_time.attention import ATTENTION_FAMILIES
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.kernel_time.prefill import causal_pairs
from kvwall.simulator.kernel_time.prefill_plans import flash2_tiles, flash3_tiles, visited_keys

PREFILL = sorted(name for name, family in ATTENTION_FAMILIES.items() if "prefill" in family.kernel)

#: Warm prefill of ai-dynamo/aiconfigurator at 095f58a51 (Apache-2.0), cache write included.
MEASURED = [
    ("prefill/fa3-bf16", "h100-sxm5-80gb", (4, 40, 1, 64, 64), 14.8),
    ("prefill/fa3-bf16", "h100-sxm5-80gb", (4, 12, 1, 64, 1536), 60.1),
    ("prefill/fa3-bf16", "h100-sxm5-80gb", (32, 40, 8, 128, 256), 189.5),
    ("prefill/fa3-bf16", "h100-sxm5-80gb", (4, 48, 2, 128, 2048), 450.2),
    ("prefill/fa3-bf16", "h100-sxm5-80gb", (16, 40, 40, 128, 4096), 5981.8),
    ("prefill/fa2-bf16", "a100-sxm4-80gb", (1, 40, 2, 128, 16), 11.4),
    ("prefill/fa2-bf16", "a100-sxm4-80gb", (16, 48, 4, 128, 256), 211.0),
    ("prefill/fa2-bf16", "a100-sxm4-80gb", (8, 48, 1, 128, 512), 242.6),
    ("prefill/fa2-bf16", "a100-sxm4-80gb", (2, 48, 1, 128, 3072), 1376.3),
    ("prefill/fa2-bf16", "a100-sxm4-80gb", (2, 64, 64, 128, 8192), 13175.8),
]


def points(batch, q_heads, kv_heads, head_dim, q_len, kv_len=None, warm=1.0, window=0.0) -> Points:
    return Points(
        batch=batch, q_len=q_len, kv_len=q_len if kv_len is None else kv_len, q_heads=q_heads, kv_heads=kv_heads,
        head_dim=head_dim, value_dim=head_dim, window=window, warm=warm,
    )  # fmt: skip


def defaults(family) -> dict[str, float]:
    return {p.name: p.default for p in family.parameters}


@pytest.mark.parametrize(("name", "device", "shape", "measured_us"), MEASURED)
def test_a_public_kernel_table_is_met_within_8_percent(name, device, shape, measured_us):
    fit = kernel_fits(device, "vllm")[name]
    time = ATTENTION_FAMILIES[name].seconds(points(*shape), fit.parameters, machine_of(DEVICES.load(device)))
    assert float(time) * 1e6 == pytest.approx(measured_us, rel=0.08)


def test_tiles_of_a_whole_prompt_visit_the_triangle_and_the_diagonal_blocks():
    # Four tiles of 64 rows and blocks of 128 keys: 1, 1, 2, 2 blocks.
    whole_blocks, longest = visited_keys(points(1, 1, 1, 128, 256), np.array(64.0), np.array(128.0), exact=0.0)
    assert (float(whole_blocks), float(longest)) == (192, 256)
    needed, _ = visited_keys(points(1, 1, 1, 128, 256), np.array(64.0), np.array(128.0), exact=1.0)
    assert float(needed) == (64 + 128 + 192 + 256) / 4


def test_a_chunk_at_the_end_of_a_context_sees_all_of_it():
    keys, longest = visited_keys(points(1, 1, 1, 128, 128, 4096), np.array(64.0), np.array(128.0), exact=0.0)
    assert (float(keys), float(longest)) == (4096, 4096)


def test_a_window_bounds_the_keys_of_every_tile():
    shapes = points(1, 1, 1, 128, 4096, window=512.0)
    keys, longest = visited_keys(shapes, np.array(64.0), np.array(128.0), exact=0.0)
    assert 512 < float(keys) < 768
    assert float(longest) <= 768


def test_many_tiles_are_sampled_close_to_their_exact_average():
    shapes = points(1, 1, 1, 128, 64.0 * 500)
    keys, _ = visited_keys(shapes, np.array(64.0), np.array(128.0), exact=0.5)
    ends = np.arange(1, 501) * 64.0
    assert float(keys) == pytest.approx(np.mean(0.5 * np.ceil(ends / 128) * 128 + 0.5 * ends), rel=0.002)


def test_flash3_packs_the_heads_of_a_group_into_rows_of_short_sequences_only():
    short, long = (flash3_tiles(points(1, 32, 8, 128, n)) for n in (16, 4096))
    assert (bool(short.packed), float(short.tiles)) == (True, 8)
    assert (bool(long.packed), float(long.tiles)) == (False, 32 * 32)
    assert float(flash2_tiles(points(1, 32, 8, 128, 16)).tiles) == 32


def test_pairs_under_the_mask():
    assert float(causal_pairs(points(1, 1, 1, 128, 4.0))) == 1 + 2 + 3 + 4
    assert float(causal_pairs(points(1, 1, 1, 128, 2.0, 5.0))) == 4 + 5
    assert float(causal_pairs(points(1, 1, 1, 128, 5.0, window=2.0))) == 1 + 2 + 2 + 2 + 2
    assert float(causal_pairs(points(1, 1, 1, 128, 2.0, 10.0, window=3.0))) == 3 + 3


@pytest.mark.parametrize("name", PREFILL)
def test_chunks_of_a_prompt_cost_more_than_the_prompt_at_once_and_less_than_four_prompts(name):
    family, machine = ATTENTION_FAMILIES[name], machine_of(DEVICES.load("h100-sxm5-80gb"))
    whole = float(family.seconds(points(1, 32, 8, 128, 8192.0, warm=0.0), defaults(family), machine))
    ends = 2048.0 * np.arange(1, 5)
    chunks = family.seconds(points(1, 32, 8, 128, 2048.0, ends, warm=0.0), defaults(family), machine)
    assert np.all(np.diff(chunks) > 0)
    assert whole < chunks.sum() < 1.6 * whole


@pytest.mark.parametrize("name", PREFILL)
@pytest.mark.parametrize("device", ["h100-sxm5-80gb", "l4", "mi300x", "h20-96gb"])
def test_a_cold_prefill_is_never_faster_than_the_data_sheet(name, device):
    family, machine = ATTENTION_FAMILIES[name], machine_of(DEVICES.load(device))
    fast = ("fraction", "gain")
    best = {p.name: p.high if p.name.endswith(fast) else p.low for p in family.parameters}
    q_len = np.geomspace(1, 100_000, 30)
    for batch, q_heads, kv_heads, head_dim in ((1, 32, 8, 128), (64, 8, 8, 64), (4, 96, 1, 256)):
        for window in (0.0, 1024.0):
            shapes = points(batch, q_heads, kv_heads, head_dim, q_len, q_len + 5000, warm=0.0, window=window)
            assert np.all(family.seconds(shapes, best, machine) >= family.ideal_seconds(shapes, machine))


@pytest.mark.parametrize("name", PREFILL)
def test_a_longer_prompt_takes_longer_and_a_warm_cache_never_does(name):
    family, machine = ATTENTION_FAMILIES[name], machine_of(DEVICES.load("h100-sxm5-80gb"))
    shapes = points(2, 32, 8, 128, 2.0 ** np.arange(4, 17), warm=0.0)
    cold = family.seconds(shapes, defaults(family), machine)
    assert np.all(np.diff(cold) > 0)
    assert np.all(family.seconds(replace(shapes, warm=1.0), defaults(family), machine) <= cold * (1 + 1e-9))


@pytest.mark.parametrize("name", PREFILL)
def test_an_array_holds_the_cells_of_scalar_calls(name):
    family, machine = ATTENTION_FAMILIES[name], machine_of(DEVICES.load("h100-sxm5-80gb"))
    q_len, kv_len = np.array([1.0, 100, 3000, 20000]), np.array([7.0, 100, 9000, 20000])
    many = family.seconds(points(3, 32, 8, 128, q_len, kv_len), defaults(family), machine)
    one = [
        float(family.seconds(points(3, 32, 8, 128, q, k), defaults(family), machine))
        for q, k in zip(q_len, kv_len, strict=True)
    ]
    assert many.tolist() == pytest.approx(one, rel=1e-12)
