"""Cascades: passes, on-chip rows, traffic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvwall.simulator.io.bounds import compulsory_attention_elements
from kvwall.simulator.io.cascades import PASSES, cascade_elements, divisions, rows_on_chip, scores_on_chip
from kvwall.simulator.io.exact_counts import standard_attention_elements

FUSED = ("flat", "local max", "fusemax")


def test_passes_and_scores():
    assert PASSES == {"unfused": 3, "flat": 3, "local max": 2, "fusemax": 1}
    kept = {cascade: float(scores_on_chip(cascade, 5000, 64)) for cascade in PASSES}
    assert kept == {"unfused": 64, "flat": 5000, "local max": 5000, "fusemax": 64}
    assert float(divisions("flat", 10, 5000, 64)) == 50000
    assert float(divisions("fusemax", 10, 5000, 64)) == 640


def test_rows_by_hand():
    # 10000 elements less a tile of 10 keys of 4: 9960 / (4 + 96).
    assert float(rows_on_chip(96, 2, 2, 10, 10000)) == 99


def test_flat_by_hand():
    # d = d_v = 2, tile of 1, 104 elements: 100 / (4 + 16) = 5 rows with whole rows of 16 scores, 20 / 5 = 4 streams.
    whole = 20 * 4 + 4 * 16 * 4
    # or 100 / 5 = 20 rows with one score each, of which 20 of 20 * 16 stay on chip, and three moves of the rest.
    spilled = 20 * 4 + 16 * 4 + 3 * (1 - 20 / 320) * 320
    assert float(cascade_elements("flat", 20, 16, 2, 2, 1, 104)) == min(whole, spilled) == whole
    # The second end is taken where keys are wide: 1 row of whole scores streams 20 times.
    assert float(cascade_elements("fusemax", 20, 16, 2, 2, 1, 104)) == 20 * 4 + 16 * 4


def test_a_large_buffer_makes_every_fused_cascade_compulsory():
    for cascade in FUSED:
        moved = float(cascade_elements(cascade, 512, 4096, 64, 64, 64, 1e9))
        assert moved == float(compulsory_attention_elements(512, 4096, 64, 64))


def test_one_pass_needs_no_more_buffer_for_longer_sequences():
    # 16 MB of 16-bit elements, as in the published accelerator: one pass keeps its rows, three passes lose theirs.
    n = 2.0 ** np.arange(10, 21)
    rows = rows_on_chip(np.minimum(n, 256), 64, 64, 256, 2**23)
    assert np.all(rows == rows[0])
    ratio = cascade_elements("flat", n, n, 64, 64, 256, 2**23) / cascade_elements("fusemax", n, n, 64, 64, 256, 2**23)
    assert np.all(np.diff(ratio) >= 0)
    assert ratio[0] == 1
    assert ratio[-1] > 50


@given(
    st.sampled_from(FUSED), st.integers(1, 4000), st.integers(1, 4000), st.sampled_from([16, 64, 128]),
    st.integers(1, 128), st.integers(2, 500),
)  # fmt: skip
def test_more_buffer_never_moves_more_and_fusing_never_moves_more(cascade, q, n, d, tile, squares):
    capacity = squares * d * d + 2 * tile * d
    moved = float(cascade_elements(cascade, q, n, d, d, tile, capacity))
    # Streams of the keys are whole: where rows are spilled, rounding may cost one of them.
    rounding = 0.0 if cascade == "fusemax" else 2.0 * n * d
    for larger in (capacity + 100, 2 * capacity):
        assert float(cascade_elements(cascade, q, n, d, d, tile, larger)) <= moved * (1 + 1e-12) + rounding
    assert float(compulsory_attention_elements(q, n, d, d)) <= moved
    order = [float(cascade_elements(c, q, n, d, d, tile, capacity)) for c in ("fusemax", "local max", "flat")]
    assert order == sorted(order)


@pytest.mark.parametrize("cascade", FUSED)
def test_fused_never_moves_more_than_unfused_from_a_few_squares_of_the_width(cascade):
    q, capacity = np.arange(1, 5000, 7)[:, None], np.array([8, 16, 64, 1024]) * 64**2
    fused = cascade_elements(cascade, q, 4096, 64, 64, 32, capacity)
    assert np.all(fused <= standard_attention_elements(q, 4096, 64, 64))
