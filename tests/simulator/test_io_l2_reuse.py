"""Reuse of keys in the last-level cache: between the compulsory traffic and the count of the kernel."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kvwall.simulator.io.l2_reuse import device_memory_bytes, key_passes


def test_keys_cross_once_when_one_wave_covers_a_head():
    assert float(key_passes(32, 132, 1e12, 50e6)) == 1


def test_keys_cross_once_when_the_cache_keeps_them():
    assert float(key_passes(1320, 132, 20e6, 50e6)) == 1


def test_by_hand():
    # 10 waves of a head of 60 MB over 0.6 * 50 MB kept: half of it again in each of 9 waves.
    assert float(key_passes(1320, 132, 60e6, 50e6)) == 1 + 9 * 0.5
    # Of 10 blocks each reading 10 bytes, 5.5 passes are halfway between 10 and 100.
    assert float(device_memory_bytes(10, 100, 5.5, 10)) == 55


@given(st.floats(1, 1e5), st.floats(1, 1000), st.floats(0, 1e12), st.floats(0, 1e9))
def test_passes_lie_between_one_and_the_row_blocks_and_fall_with_the_cache(blocks, slots, size, l2):
    passes = float(key_passes(blocks, slots, size, l2))
    assert 1 <= passes <= blocks * (1 + 1e-12)
    assert float(key_passes(blocks, slots, size, 2 * l2)) <= passes


def test_ends():
    assert device_memory_bytes(10, 100, np.array([1, 7]), 7).tolist() == [10, 100]
    assert float(device_memory_bytes(10, 100, 1, 1)) == 10
