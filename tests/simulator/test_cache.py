"""The cache algebra: formats, shares, and the rewrites of segments that schemes are made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvwall.simulator.cache import SIXTEEN_BITS, Bits, Segment, Tensor
from kvwall.simulator.dense import Paging
from kvwall.simulator.segments import keep_at_most, part_of, read_at_most, split_newest


def tensor(*segments: Segment, heads: int = 8, channels: float = 128) -> Tensor:
    return Tensor("key", heads, channels, segments)


@pytest.mark.parametrize(
    ("bits", "effective"),
    [
        (SIXTEEN_BITS, 16.0),
        (Bits("int2", 2.0, 16.0, 16.0, 32.0), 3.0),
        (Bits("int4", 4.0, 16.0, 16.0, 64.0), 4.5),
        (Bits("nvfp4", 4.0, 8.0, 0.0, 16.0), 4.5),
        (Bits("fp8", 8.0, 32.0, 0.0, 0.0), 8.0),  # a scale of the whole tensor weighs nothing
    ],
)
def test_effective_bits_hold_the_metadata(bits: Bits, effective: float) -> None:
    assert bits.effective == effective


@pytest.mark.parametrize(
    ("heads", "tp", "share"), [(8, 1, 1.0), (8, 4, 0.25), (8, 8, 0.125), (8, 16, 0.125), (10, 4, 0.3), (0, 8, 1.0)]
)
def test_share_of_a_rank(heads: int, tp: int, share: float) -> None:
    """A head is never cut, and a tensor without heads is kept whole by everyone."""
    assert tensor(heads=heads).share(tp) == pytest.approx(share)


def test_a_state_splits_evenly() -> None:
    assert Tensor("state", 0, 1000.0, (), divisible=True).share(16) == 1 / 16


def test_stored_bytes_by_place() -> None:
    made = tensor(
        Segment("tokens", 100.0, 100.0, Bits("int4", 4.0, 16.0, 16.0, 32.0), place="host"),
        Segment("window", 28.0, 28.0),
    )
    assert made.stored_bytes("host") == 100 * 1024 * 5 / 8
    assert made.stored_bytes("hbm") == 28 * 1024 * 2
    assert made.stored_bytes("ssd") == 0
    assert made.stored_bytes() == made.stored_bytes("host") + made.stored_bytes("hbm")


amounts = st.floats(0, 1e6)


@given(stored=amounts, fraction=st.floats(0, 1), newest=amounts)
def test_splitting_loses_nothing(stored: float, fraction: float, newest: float) -> None:
    whole = Segment("tokens", stored, stored * fraction)
    older, window = split_newest(whole, newest, "window")
    assert older.stored + window.stored == pytest.approx(stored)
    assert older.read + window.read == pytest.approx(stored * fraction)
    assert 0 <= window.read <= window.stored <= newest
    assert older.stored >= 0
    assert older.read <= older.stored + 1e-9


@given(stored=st.integers(0, 10_000), extra=st.integers(0, 500), budget=st.integers(0, 12_000))
def test_keeping_a_budget(stored: int, extra: int, budget: int) -> None:
    total = float(stored + extra)
    (kept,) = keep_at_most(tensor(Segment("tokens", total, total)), float(budget), float(extra)).segments
    assert kept.stored == min(stored, budget) + extra
    assert kept.read == kept.stored


@given(old=amounts, new=amounts, budget=amounts)
def test_reading_a_budget_takes_the_newest_first(old: float, new: float, budget: float) -> None:
    made = read_at_most(tensor(Segment("tokens", old, old), Segment("window", new, new)), budget)
    older, newer = made.segments
    assert newer.read == min(new, budget)
    assert older.read + newer.read == pytest.approx(min(old + new, budget))
    assert (older.stored, newer.stored) == (old, new)


def test_a_part_of_nothing_is_nothing() -> None:
    assert np.array_equal(part_of(np.array([1.0, 0.0]), np.array([4.0, 0.0])), [0.25, 0.0])
    assert part_of(np.float64(0.0), np.float64(0.0)) == 0


def test_paging_rounds_up_and_keeps_a_window_with_one_pass() -> None:
    paging = Paging(16, 8192.0)
    assert list(paging.tokens(np.array([1.0, 16.0, 17.0]))) == [16, 16, 32]
    # 1,023 tokens of the window and 8,192 of a pass are 9,215: 576 blocks, and one more.
    assert paging.window(np.array(100_000.0), 1024) == 577 * 16
    assert paging.window(np.array(100.0), 1024) == 112 + 16
    assert Paging(16, float("inf")).window(np.array(100_000.0), 1024) == 100_000
    assert Paging().window(np.array(100_000.0), 1024) == 1024
