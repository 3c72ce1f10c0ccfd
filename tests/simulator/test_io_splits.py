"""Split rules of shipped kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kvwall.simulator.io.splits import flash2_splits, flash3_splits, one_wave_chunk_pages


@pytest.mark.parametrize(("b", "length", "expected"), [(1, 8192, 22), (1, 131072, 23), (4, 4096, 6), (16, 4096, 3)])
def test_flash2_on_108_units(b, length, expected):
    assert float(flash2_splits(b * 8, 108, length / 128)) == expected


@pytest.mark.parametrize(("b", "length", "expected"), [(1, 8192, 15), (1, 131072, 15), (4, 4096, 4), (16, 4096, 1)])
def test_flash3_on_132_units(b, length, expected):
    assert float(flash3_splits(b * 8, 132, length / 128)) == expected


def test_rules_broadcast():
    work, blocks = np.array([8, 8, 32, 128]), np.array([64, 1024, 32, 32])
    assert flash2_splits(work, 108, blocks).tolist() == [22, 23, 6, 3]
    assert flash3_splits(work, 132, blocks).tolist() == [15, 15, 4, 1]


def _flash2_loop(w: int, slots: int, blocks: int) -> int:
    if w >= 0.8 * slots:
        return 1
    efficiency = {}
    for s in range(1, min(128, slots, blocks) + 1):
        if s == 1 or math.ceil(blocks / s) != math.ceil(blocks / (s - 1)):
            efficiency[s] = w * s / slots / math.ceil(w * s / slots)
    return next(s for s, e in efficiency.items() if e >= 0.85 * max(efficiency.values()))


def test_flash2_is_the_loop_of_its_source():
    for w in (1, 3, 8, 17, 40, 100, 170, 200):
        for blocks in (1, 2, 5, 31, 100, 1000):
            assert float(flash2_splits(w, 108, blocks)) == _flash2_loop(w, 216, blocks)


def test_flash3_keeps_short_sequences_whole_and_cuts_large_heads():
    assert float(flash3_splits(1, 132, 4)) == 1
    assert float(flash3_splits(1, 132, 5)) == 5
    assert float(flash3_splits(300, 132, 9e4, row_blocks=300, head_bytes=120 * 2**20, causal=False)) == 3
    assert float(flash3_splits(300, 132, 9e4, row_blocks=300, head_bytes=120 * 2**20, causal=True)) == 1


def test_chunks_fill_one_wave():
    pages = np.array([[100.0, 300.0, 10.0], [1.0, 1.0, 1.0]])
    chunk = one_wave_chunk_pages(pages, 8, 132, 16)
    # Chunks of 28 pages are 4 + 11 + 1 and, with 8 heads, 128 blocks; chunks of 27 pages would be 136.
    assert chunk.tolist() == [28.0, 8.0]
    assert [float(np.ceil(pages[0] / size).sum() * 8) for size in (28, 27)] == [128.0, 136.0]
