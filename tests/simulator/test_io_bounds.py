"""Lower bounds: below every exact count at the same capacity, close to the best of them, right in both regimes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvwall.simulator.io.bounds import (
    attention_bound_elements,
    attention_order_elements,
    backward_order_elements,
    compulsory_attention_elements,
    constant_of,
    score_bound_elements,
    streaming_bound_bytes,
)
from kvwall.simulator.io.cascades import cascade_elements
from kvwall.simulator.io.exact_counts import (
    blocked_attention_elements,
    flash1_counts,
    flash_counts,
    standard_attention_elements,
)

TOKENS = st.integers(1, 6000)
DIMS = st.sampled_from([1, 2, 8, 32, 64, 128, 576])
CAPACITY = st.integers(1, 2_000_000)


def _bound(q: int, n: int, d: int, v: int, capacity: float) -> float:
    compulsory = compulsory_attention_elements(q, n, d, v)
    return float(attention_bound_elements(float(q) * n, d, v, capacity, compulsory))


@settings(max_examples=300, deadline=None)
@given(TOKENS, TOKENS, DIMS, DIMS, st.integers(1, 300), st.integers(1, 300))
def test_no_tile_of_flash_attention_beats_the_bound(q, n, d, v, br, bc):
    # The tile holds rows of Q and O, keys and values, scores, and two statistics a row.
    capacity = br * (d + v + 2) + bc * (d + v) + br * bc
    counts = flash_counts(q, n, d, v, br, bc, causal=False)
    assert float(counts.read_elements + counts.write_elements) >= _bound(q, n, d, v, capacity)


@settings(max_examples=200, deadline=None)
@given(TOKENS, DIMS, CAPACITY)
def test_flash1_does_not_beat_the_bound(n, d, capacity):
    counts = flash1_counts(n, d, capacity)
    assert float(counts.total_elements) >= _bound(n, n, d, d, capacity)


@settings(max_examples=200, deadline=None)
@given(TOKENS, TOKENS, DIMS, DIMS, st.integers(3, 2_000_000))
def test_blocked_and_fused_cascades_do_not_beat_the_bound(q, n, d, v, capacity):
    assert float(blocked_attention_elements(q, n, d, v, capacity)) >= _bound(q, n, d, v, capacity)
    # One row, its output, its scores and a key with its value must fit for the cascades to run at all.
    held = capacity + 2 * (d + v) + n
    for cascade in ("flat", "local max", "fusemax"):
        assert float(cascade_elements(cascade, q, n, d, v, 1, held)) >= _bound(q, n, d, v, held)


@given(TOKENS, TOKENS, DIMS, DIMS)
def test_standard_attention_does_not_beat_the_bound_where_it_reads_inputs_once(q, n, d, v):
    # A product reads both inputs once when one of them fits whole, with a row of the other and of the result.
    capacity = min(q, n) * max(d, v, 1) + max(d, v) + n
    assert float(standard_attention_elements(q, n, d, v)) >= _bound(q, n, d, v, capacity)


@given(TOKENS, TOKENS, DIMS, DIMS, CAPACITY)
def test_bounds_are_at_least_compulsory_and_fall_with_capacity(q, n, d, v, capacity):
    compulsory = float(compulsory_attention_elements(q, n, d, v))
    bound = _bound(q, n, d, v, capacity)
    assert bound >= compulsory
    assert _bound(q, n, d, v, 3 * capacity) <= bound * (1 + 1e-12)


def test_the_best_known_algorithm_is_twice_the_bound_of_large_caches():
    # All of the capacity holds rows of Q and O while single keys run by: constant 4 against a bound of 2.
    n, d = 2**24, 128
    capacity = 2**20
    rows = (capacity - 2 * d) // (2 * d + 3)
    counts = flash_counts(n, n, d, d, rows, 1, causal=False)
    moved = float(counts.read_elements + counts.write_elements)
    assert moved / _bound(n, n, d, d, capacity) == pytest.approx(2, rel=0.03)
    assert float(constant_of(moved, float(n) ** 2, d, capacity)) == pytest.approx(4, rel=0.03)
    assert float(constant_of(_bound(n, n, d, d, capacity), float(n) ** 2, d, capacity)) == pytest.approx(2, rel=0.01)


def test_the_score_bound_has_the_stated_constants():
    pairs, d = 1e18, 4096
    small, large = 2.0**8, 2.0**44
    assert float(score_bound_elements(pairs, d, small)) == pytest.approx(2**0.5 * pairs * d / small**0.5, rel=0.12)
    assert float(score_bound_elements(1e30, d, large)) == pytest.approx(1e30 * d**2 / large, rel=0.02)


def test_the_score_bound_by_hand():
    # M = d^2 = 16, t = 1: 16 P 4 / (16^1.5 + 32^2 / 16) - 16 = P / 2 - 16; t = 4 is smaller.
    assert float(score_bound_elements(1000, 4, 16)) == 1000 / 2 - 16


def test_the_streaming_bound_by_hand():
    # q w / M = 256 * 512 / 2^18 = 1/2 bytes a pair, less one fast level per processor.
    assert float(streaming_bound_bytes(1e9, 256, 512, 2**18)) == 5e8 - 2**18
    assert float(streaming_bound_bytes(1e9, 256, 512, 2**18, units=100)) == 5e8 - 100 * 2**18
    # Never more than half a score per pair, and never negative.
    assert float(streaming_bound_bytes(1e9, 256, 512, 1000)) == 1e9 - 1000
    assert float(streaming_bound_bytes(10, 256, 512, 2**18)) == 0


def test_values_that_are_columns_of_keys_halve_the_bound():
    two, one = (float(streaming_bound_bytes(1e12, 1152, w, 2**22)) + 2**22 for w in (2304, 1152))
    assert two == pytest.approx(2 * one)


def test_compulsory_by_hand():
    # Four heads over one of keys: 4 * 10 rows of Q (2) and O (3), 20 of K and V.
    assert float(compulsory_attention_elements(10, 20, 2, 3, 4)) == 80 + 100 + 120
    assert compulsory_attention_elements(np.array([1, 2]), 20, 2, 3).tolist() == [105, 110]


def test_both_regimes_meet_at_the_square_of_the_width():
    n, d = 1000.0, 64
    at, below, above = (float(attention_order_elements(n, n, d, m)) for m in (d**2, d**2 / 4, d**2 * 4))
    assert (at, below, above) == (n * n, 2 * n * n, n * n / 4)
    # Backward at M = d^2: N^2 + N d from both sides.
    assert float(backward_order_elements(n, n, d, d**2)) == n * n + n * d
    assert float(backward_order_elements(n, n, d, d**2 / 4)) == 2 * (n * n + n * d)


def test_no_pairs_have_no_constant():
    assert constant_of(5.0, np.array([0.0, 2.0]), 2, 4).tolist() == [0.0, 2.5]
