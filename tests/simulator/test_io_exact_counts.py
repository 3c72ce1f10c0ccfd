"""Counts of attention algorithms against hand-made vectors and against loops that visit every tile."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from kvwall.simulator.io.exact_counts import (
    blocked_attention_elements,
    flash1_backward_elements,
    flash1_counts,
    flash_counts,
    standard_attention_elements,
    standard_extra_elements,
)
from kvwall.simulator.operators.prefill import causal_pairs

#: N_q, N_k, d, B_r, B_c, causal, window, then row blocks, visits, read, written, log-sum-exps, bytes at 2, FLOP.
FLASH = [
    (4096, 4096, 128, 128, 64, False, None, 32, 2048, 34078720, 524288, 4096, 69222400, 8589934592),
    (4096, 4096, 128, 128, 64, True, None, 32, 1056, 17825792, 524288, 4096, 36716544, 4429185024),
    (4096, 4096, 64, 128, 128, True, None, 32, 528, 8912896, 262144, 4096, 18366464, 2214592512),
    (4096, 4096, 128, 128, 176, False, None, 32, 768, 34078720, 524288, 4096, 69222400, 8858370048),
    (4096, 4096, 128, 128, 128, True, None, 32, 528, 17825792, 524288, 4096, 36716544, 4429185024),
    (1000, 1000, 128, 128, 128, True, None, 8, 36, 1301504, 128000, 1000, 2863008, 301989888),
    (512, 8192, 128, 128, 128, True, None, 4, 250, 8257536, 65536, 512, 16648192, 2097152000),
    (8192, 8192, 128, 128, 128, True, 1024, 64, 540, 18743296, 1048576, 8192, 39616512, 4529848320),
]


@pytest.mark.parametrize("row", FLASH)
def test_flash_counts(row):
    q, n, d, br, bc, causal, window, *expected = row
    c = flash_counts(q, n, d, d, br, bc, causal=causal, window_left=window)
    found = [c.row_blocks, c.block_visits, c.read_elements, c.write_elements, c.lse_elements, c.bytes(2), c.flops]
    assert [float(v) for v in found] == expected


def test_flash_counts_broadcast_like_single_calls():
    q, n, br, bc = (np.array([row[i] for row in FLASH if row[5] and row[6] is None]) for i in (0, 1, 3, 4))
    d = np.array([row[2] for row in FLASH if row[5] and row[6] is None])
    whole = flash_counts(q, n, d, d, br, bc)
    assert whole.block_visits.tolist() == [row[8] for row in FLASH if row[5] and row[6] is None]
    assert whole.read_elements.tolist() == [row[9] for row in FLASH if row[5] and row[6] is None]


def _loop(q: int, n: int, g: int, br: int, bc: int, causal: bool, window: int | None) -> tuple[int, int]:
    """Tiles in which some row of a block sees some key, or that lie between such tiles; and their keys."""
    tiles = keys = 0
    for start in range(0, g * q, br):
        seen = set()
        for row in range(start, min(start + br, g * q)):
            position = row // g + n - q
            first = 0 if window is None else max(0, position - window)
            last = position if causal else n - 1
            seen |= {key // bc for key in range(first, last + 1)}
        tiles += len(seen)
        keys += sum(min((tile + 1) * bc, n) - tile * bc for tile in seen)
    return tiles, keys


@pytest.mark.parametrize("g", [1, 3])
@pytest.mark.parametrize("causal", [True, False])
def test_flash_counts_are_those_of_a_loop_over_all_rows_and_keys(g, causal):
    for q, n, br, bc, window in itertools.product((1, 7, 16, 33), (33, 50), (4, 16), (3, 8, 64), (None, 0, 5, 20)):
        if window is not None and not causal:
            continue
        c = flash_counts(q, n, 1, 1, br, bc, causal=causal, window_left=window, packed=g)
        assert (int(c.block_visits), int(c.keys_visited)) == _loop(q, n, g, br, bc, causal, window)


def test_long_sequences_are_counted_in_pieces():
    # 2^19 rows of tiles of 128 are 4096 row blocks; the closed form of a causal square is (T_r + 1) / (2 T_r).
    n = 2**19
    c = flash_counts(n, n, 128, 128, 128, 128)
    assert float(c.keys_visited) == pytest.approx(4096 * n * (4096 + 1) / (2 * 4096), rel=1e-12)


def test_tiles_of_one_row_and_key_count_the_pairs_themselves():
    for q, n, window in itertools.product((1, 9, 40), (40, 64), (None, 3, 30)):
        c = flash_counts(q, n, 1, 1, 1, 1, window_left=window)
        assert float(c.keys_visited) == causal_pairs(q, n, None if window is None else window + 1)


@pytest.mark.parametrize(
    ("n", "m", "tiles", "read", "total"),
    [(4096, 49152, (64, 192, 22), 12238848, 18186240), (1024, 24576, (64, 96, 11), 1595392, 2338816)],
)
def test_flash1_counts(n, m, tiles, read, total):
    c = flash1_counts(n, 64, m)
    assert (float(c.row_tile), float(c.column_tile), float(c.outer_steps)) == tiles
    assert (float(c.read_elements), float(c.total_elements)) == (read, total)


def test_flash1_leading_constant_is_twelve():
    n, d, m = 2**22, 64, 2**16
    assert float(flash1_counts(n, d, m).total_elements) * m / (n**2 * d**2) == pytest.approx(12, rel=0.03)


def test_flash1_backward_by_hand():
    # T_c = ceil(4096 / 192) = 22 steps of 4096 (5 * 64 + 2) elements, and 4 * 4096 * 64 once.
    assert float(flash1_backward_elements(4096, 64, 49152)) == 4 * 4096 * 64 + 22 * 4096 * 322


def test_standard_attention_by_hand():
    # Q, K, V, O of 10 x 2, 20 x 2, 20 x 3, 10 x 3 and four passes over 10 x 20 scores.
    assert float(standard_attention_elements(10, 20, 2, 3)) == 20 + 40 + 60 + 30 + 4 * 200
    assert float(standard_extra_elements(10, 20)) == 400


def test_blocked_attention_by_hand():
    # M = 15 holds a block of 3 x 3: scores 7 * 10 * 2 + 4 * 20 * 2 + 200, softmax 400, outputs 1 * 200 + 4 * 60 + 30.
    assert float(blocked_attention_elements(10, 20, 2, 3, 15)) == 140 + 160 + 200 + 400 + 200 + 240 + 30
