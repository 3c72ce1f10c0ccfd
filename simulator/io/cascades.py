"""Attention as a cascade of passes over the keys: what each needs on chip and what it moves when it lacks it.

A pass is one complete traversal of the keys of a query. Between two passes either the whole row of scores stays on
chip or it is written out and read back. Nayak et al. 2024, FuseMax, arXiv 2406.10491, sections 3 and 4; Kao et al.
2023, FLAT, arXiv 2107.06419.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from kvwall.simulator.io.arrays import floats
from kvwall.simulator.io.exact_counts import standard_attention_elements
from kvwall.simulator.traffic import Array, Numeric

Cascade = Literal["unfused", "flat", "local max", "fusemax"]

#: Traversals of the keys: maximum, exponentials and their sum, division; a local maximum joins two; a running maximum
#: with the division deferred joins all (FlashAttention-2 and FuseMax).
PASSES: dict[Cascade, int] = {"unfused": 3, "flat": 3, "local max": 2, "fusemax": 1}


def scores_on_chip(cascade: Cascade, keys: Numeric, key_tile: Numeric) -> Array:
    """Scores that one query row must keep on chip so that none is spilled, in elements.

    ``N_k`` where a cascade of several passes keeps its row, ``B_c`` for one pass; unfused kernels keep a tile and spill
    the row whatever fits.
    """
    n, tile = floats(keys), floats(key_tile)
    return n + 0 * tile if cascade in {"flat", "local max"} else np.minimum(tile, n)


def divisions(cascade: Cascade, queries: Numeric, keys: Numeric, value_dim: Numeric) -> Array:
    """Divisions of one head: ``N_q N_k``, or ``N_q d_v`` where a single pass defers them to the output."""
    q = floats(queries)
    return q * value_dim + 0.0 * floats(keys) if cascade == "fusemax" else q * keys + 0.0 * floats(value_dim)


def rows_on_chip(scores: Numeric, head_dim: Numeric, value_dim: Numeric, key_tile: Numeric, capacity: Numeric) -> Array:
    """Query rows that the buffer holds, with outputs and ``scores`` scores each, beside one tile of keys and values.

    ``R = (M - B_c (d + d_v)) / (d + d_v + scores)``, whole and at least 1, in elements.
    """
    width = floats(head_dim) + value_dim
    free = floats(capacity) - floats(key_tile) * width
    return np.maximum(1.0, np.floor(free / (width + scores)))


def cascade_elements(
    cascade: Cascade,
    queries: Numeric,
    keys: Numeric,
    head_dim: Numeric,
    value_dim: Numeric,
    key_tile: Numeric,
    capacity: Numeric,
) -> Array:
    """Elements of one head that a cascade moves to and from a buffer of ``capacity`` elements.

    Unfused: :func:`standard_attention_elements`. Fused: ``N_q (d + d_v) + ceil(N_q / R) N_k (d + d_v) + p f N_q N_k``,
    where a part ``f`` of each row of scores is spilled, written once and read in each of the ``p - 1`` later passes
    (``p`` = 0 for one pass). Fewer rows spill less and stream the keys more often; the traffic is linear in ``1 / R``,
    so the better of the two ends is taken: as many rows as fit with whole rows of scores, or with one tile of them.

    Valid from about ``M = d^2``; below it unfused products are better blocked than fused.

    :param capacity: elements of the on-chip buffer
    """
    q, n = floats(queries), floats(keys)
    width = floats(head_dim) + value_dim
    if cascade == "unfused":
        return standard_attention_elements(q, n, head_dim, value_dim) + 0 * floats(capacity)
    kept, tile = scores_on_chip(cascade, n, key_tile), np.minimum(key_tile, n)
    fewest = np.ceil(q / rows_on_chip(tile, head_dim, value_dim, key_tile, capacity))
    most = np.ceil(q / rows_on_chip(kept, head_dim, value_dim, key_tile, capacity))
    moves = PASSES[cascade] if PASSES[cascade] > 1 else 0
    found = []
    # Whole numbers of streams bend the line a little, so the second one is tried as well.
    for streams in (fewest, np.minimum(fewest + 1, most), most):
        rows = np.ceil(q / streams)
        room = floats(capacity) - floats(key_tile) * width - rows * width
        spilled = np.where(kept > tile, np.clip(1.0 - np.maximum(room, 0.0) / (rows * kept), 0.0, 1.0), 0.0)
        found.append(q * width + streams * n * width + moves * spilled * q * n)
    return floats(np.minimum.reduce(np.broadcast_arrays(*found)))
