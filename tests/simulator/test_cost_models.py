"""Cost models of papers: what their equations give by hand."""

from __future__ import annotations

import numpy as np
import pytest

from kvwall.hardware.offload_rates import OffloadRates
from kvwall.hardware.system import NODES
from kvwall.simulator.cost_models.flexgen import Policy, Shape, host_efficiency, layer_generation_s, tokens_per_s
from kvwall.simulator.cost_models.launch_bound import host_binds, launch_and_queue_s
from kvwall.simulator.cost_models.nexus import decode_bandwidth_share, useful_share
from kvwall.simulator.cost_models.tiers import (
    hidden_recompute_ratio,
    load_s_per_token,
    prefill_s_per_token,
    worth_loading,
)
from kvwall.simulator.cost_models.tpi_llm import master_blocks, never_stalls, peak_window_parameters, star_sum_s

OPT_30B = Shape(layers=48, hidden=7168, inner=28672, prompt=512, output=32)
README_30B = Policy((0.2, 0.8, 0.0), (0.0, 1.0, 0.0), (0.0, 1.0, 0.0), block=48, blocks=3)


def t4() -> OffloadRates:
    rates = NODES.load("gcp-t4").offload_rates
    assert rates is not None
    return rates


def test_flexgen_opt_30b_by_its_own_equations() -> None:
    """The released constants give 7.14 tokens/s where the README table measured 7.32."""
    assert tokens_per_s(OPT_30B, README_30B, t4()) == pytest.approx(7.14, abs=0.005)


def test_flexgen_a_layer_of_a_decode_step_by_hand() -> None:
    """80 % of 24 h^2 bytes and the rows up, then CPU attention over 528 tokens beside the products on the device."""
    gib, h = 2.0**30, 7168
    up = (24 * h**2 * 0.8 + 2 * h * 144) / (12.89 * gib)
    compute = 144 * 24 * h**2 / 4.3e12 + 4 * 144 * 528 * h / (0.0123e12 * (1 - 0.0328 * np.log2(64 / 48)))
    assert layer_generation_s(OPT_30B, README_30B, t4()) == pytest.approx(up + compute, rel=1e-12)


def test_flexgen_packed_cache_crosses_the_link_and_is_unpacked_by_hand() -> None:
    """OPT-30B, 64 x 8, nothing on the device: 4.5 of 16 bits over the link, then 15 bytes an element at 256 GB/s."""
    gib, h, b, tokens = 2.0**30, 7168, 512, 512 + 16
    away = (0.0, 1.0, 0.0)
    policy = Policy(away, away, away, block=64, blocks=8, on_host=False, packed_cache=True)
    cache = 4 * b * tokens * h
    up = (24 * h**2 + 2 * h * b + cache * 4.5 / 16) / (12.89 * gib)
    compute = b * 24 * h**2 / 4.3e12 + cache / 0.079e12 + 15 * cache / 2 / 256e9
    assert layer_generation_s(OPT_30B, policy, t4()) == pytest.approx(up + compute, rel=1e-12)


def test_flexgen_processors_lose_on_small_blocks_only() -> None:
    assert host_efficiency(64, 8192) == 1.0
    assert host_efficiency(16, 4096) == pytest.approx(1 - 2 * 0.0328)
    assert host_efficiency(1, 64) == pytest.approx(1 + 0.0168 * 36 - 0.0328 * 6 - 0.0621 * 6)
    assert host_efficiency(64, 1) == pytest.approx(1 - 0.0621 * 12)


def test_a_tier_pays_where_a_token_loads_sooner_than_it_is_computed() -> None:
    """Llama-3.1-8B: 131,072 / 25e9 = 5.2 us against 16.1e9 / 4e14 = 40 us; drives of 3 GB/s take 44 us."""
    assert load_s_per_token(131072, 25e9) == pytest.approx(5.243e-6, rel=1e-3)
    assert prefill_s_per_token(8.03e9, 4e14) == pytest.approx(40.15e-6)
    assert worth_loading(131072, 25e9, 8.03e9, 4e14)
    assert not worth_loading(131072, 3e9, 8.03e9, 4e14)


def test_cacheblend_controller_fills_the_load_with_computation() -> None:
    """A load of 1.43 s beside a prefill of 2 s hides r with (1.25 + 0.75 r + 30 r) / 32 = 0.715."""
    ratio = hidden_recompute_ratio(1.43, 2.0, 32, 0.25, 0.15)
    assert (1.25 + 30.75 * ratio) / 32 * 2.0 == pytest.approx(1.43)
    assert ratio == pytest.approx(0.7034, abs=1e-4)
    assert hidden_recompute_ratio(0.17, 2.0, 32, 0.25, 0.15) == 0.15
    assert hidden_recompute_ratio(9.0, 2.0, 32, 0.25, 0.15) == 1.0


def test_nexus_contention() -> None:
    """A prefill that is a quarter attention of as many bytes, three quarters weights of thrice the bytes."""
    assert decode_bandwidth_share(1e9, 1e9, 3e9, 0.25) == pytest.approx(0.25 / 2 + 0.75 / 4)
    assert decode_bandwidth_share(1e9, 0.0, 0.0, 0.5) == 1.0
    assert useful_share(0.3, 0.5, 0.2) == 0.3
    assert useful_share(0.9, 0.5, 0.2) == pytest.approx(0.58)


def test_launch_and_queue_time_is_flat_until_kernels_outlast_their_calls() -> None:
    """Ten kernels of 4 us, called every 5 us, start 2 us after their calls; of 8 us each next one waits 3 us longer."""
    short, long = np.full(10, 4e-6), np.full(10, 8e-6)
    assert launch_and_queue_s(short, 5e-6, 2e-6) == pytest.approx(20e-6)
    assert launch_and_queue_s(long, 5e-6, 2e-6) == pytest.approx(20e-6 + 3e-6 * 45)
    assert host_binds(short, 5e-6)
    assert not host_binds(long, 5e-6)


def test_tpi_window_wraps_and_counts_the_tables_of_the_master() -> None:
    """Llama-2-70B: head and embedding of 32,000 x 8192 are neighbours when the window wraps: 2.1 GB in fp32."""
    table, attention, forward = 32000 * 8192.0, 2 * 8192 * 8192 + 2 * 8192 * 1024.0, 3 * 8192 * 28672.0
    blocks = master_blocks(80, attention, forward, table, table, 1 / 8)
    assert len(blocks) == 162
    assert 4 * peak_window_parameters(blocks, 2) == 4 * 2 * table
    assert 4 * peak_window_parameters(blocks, 4) == pytest.approx(4 * (2 * table + (attention + forward) / 8))
    assert peak_window_parameters([3.0, 1.0], 9) == 4.0


def test_tpi_stalls_where_a_load_outlasts_the_other_block() -> None:
    assert never_stalls(3.0, 3.0, 1.0, 4.0, 4.0)
    assert not never_stalls(3.0, 3.0, 1.0, 4.0, 4.1)
    assert star_sum_s(8, 32768.0, 1e-3, 125e6) == pytest.approx(2e-3 + 14 * 32768 / 125e6)
