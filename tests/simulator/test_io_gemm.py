"""Products: the tight bound, blocked counts, ridge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvwall.simulator.io.gemm_io import (
    blocked_gemm_elements,
    gemm_bound_elements,
    gemm_bytes,
    gemm_compulsory_elements,
    gemm_tiles,
    largest_square_tile,
    ridge_rows,
)

SIZE = st.integers(1, 5000)


@given(SIZE, SIZE, SIZE, st.integers(1, 400), st.integers(1, 400))
def test_no_blocking_beats_the_bound(m, n, k, tm, tn):
    bound = float(gemm_bound_elements(m, n, k, tm * tn + tm + tn))
    assert float(gemm_compulsory_elements(m, n, k)) <= bound <= float(blocked_gemm_elements(m, n, k, tm, tn))


def test_square_blocks_reach_the_constant_two():
    n, capacity = 2**20, 2**20
    tile = float(largest_square_tile(capacity))
    assert (tile + 1) ** 2 - 1 <= capacity < (tile + 2) ** 2 - 1
    moved = float(blocked_gemm_elements(n, n, n, tile, tile))
    assert moved / (2 * n**3 / capacity**0.5) == pytest.approx(1, rel=3e-3)
    assert float(gemm_bound_elements(n, n, n, capacity)) == 2 * n**3 / 1024 - 2 * capacity


def test_bytes_and_ridge_by_hand():
    assert float(gemm_bytes(4, 10, 20, 0.5)) == 0.5 * 200 + 2 * 80 + 2 * 40
    # H100: 989.4e12 FLOP/s over 3.35e12 bytes/s is 295 rows in 16 bits and a quarter of that in 4.
    assert float(ridge_rows(2, 989.4e12, 3.35e12)) == pytest.approx(295.3, abs=0.1)
    assert float(ridge_rows(0.5, 989.4e12, 3.35e12)) == pytest.approx(73.8, abs=0.1)
    assert float(gemm_tiles(129, 8192, 128, 256)) == 2 * 32
