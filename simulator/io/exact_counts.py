"""Exact traffic of published attention algorithms, forward pass, in elements of one head unless said otherwise.

Which levels a count belongs to follows from where its blocks live: with blocks in the shared memory of one compute unit
it is traffic into the units, served by the last-level cache; :mod:`kvwall.simulator.io.l2_reuse` tells what of it
reaches device memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kvwall.simulator.io.arrays import floats
from kvwall.simulator.io.gemm_io import blocked_gemm_elements, largest_square_tile
from kvwall.simulator.traffic import Array, Numeric

#: Row blocks counted at once, so that long sequences do not fill memory.
_BLOCKS_AT_ONCE = 1024


def standard_attention_elements(queries: Numeric, keys: Numeric, head_dim: Numeric, value_dim: Numeric) -> Array:
    """Attention in three kernels, its score matrix in slow memory.

    ``N_q d + N_k d + 4 N_q N_k + N_k d_v + N_q d_v``: read Q and K, write S; read S, write P; read P and V, write O.
    Softmax counts as one pass; mask, scale or dropout of their own add ``2 N_q N_k`` each. Valid where the fast level
    holds enough for both products to read their inputs once. Dao et al. 2022, arXiv 2205.14135, algorithm 0.
    """
    q, n = floats(queries), floats(keys)
    return (q + n) * (floats(head_dim) + value_dim) + 4 * q * n


def standard_extra_elements(queries: Numeric, keys: Numeric) -> Array:
    """Memory that the matrices S and P of standard attention take: ``2 N_q N_k`` elements a head."""
    return 2 * floats(queries) * keys


def blocked_attention_elements(
    queries: Numeric, keys: Numeric, head_dim: Numeric, value_dim: Numeric, capacity: Numeric
) -> Array:
    """Attention in three kernels whose products are blocked by square tiles: best in order where ``M < d^2``.

    Scores ``ceil(N_k / t) N_q d + ceil(N_q / t) N_k d + N_q N_k``, softmax ``2 N_q N_k``, and the same blocking of
    P V; ``t^2 + 2 t <= M``. Saha and Ye 2024, arXiv 2402.07443 (small-cache algorithm).

    :param capacity: elements ``M`` of the fast level
    """
    tile = largest_square_tile(capacity)
    scores = blocked_gemm_elements(queries, keys, head_dim, tile, tile)
    weighted = blocked_gemm_elements(queries, value_dim, keys, tile, tile)
    return scores + 2 * floats(queries) * keys + weighted


@dataclass(frozen=True, slots=True)
class Flash1Counts:
    """What the first FlashAttention moves, elements of one head.

    :ivar row_tile: ``B_r = min(ceil(M / 4d), d)`` query rows
    :ivar column_tile: ``B_c = ceil(M / 4d)`` keys
    :ivar outer_steps: ``T_c = ceil(N / B_c)`` passes over Q and O
    """

    row_tile: Array
    column_tile: Array
    outer_steps: Array
    read_elements: Array
    write_elements: Array

    @property
    def total_elements(self) -> Array:
        """Reads and writes."""
        return self.read_elements + self.write_elements


def flash1_counts(
    tokens: Numeric, head_dim: Numeric, capacity: Numeric, value_dim: Numeric | None = None
) -> Flash1Counts:
    """FlashAttention-1: keys and values outside, queries inside, no mask.

    Reads ``N (d + d_v) + T_c (N d + N d_v + 2 N)``, writes ``T_c (N d_v + 2 N)``: Q, O and two statistics every outer
    step. For ``d = d_v`` that is ``2 N d + T_c N (3 d + 4)``, leading constant 12 in ``N^2 d^2 / M``; the first zeroing
    of O is not counted. Dao et al. 2022, arXiv 2205.14135, algorithm 1.

    :param tokens: ``N`` queries and keys
    :param capacity: elements ``M`` of shared memory
    """
    n, d = floats(tokens), floats(head_dim)
    v = d if value_dim is None else floats(value_dim)
    columns = np.ceil(floats(capacity) / (4 * d))
    steps = np.ceil(n / columns)
    return Flash1Counts(
        row_tile=np.minimum(columns, d),
        column_tile=columns,
        outer_steps=steps,
        read_elements=n * (d + v) + steps * n * (d + v + 2),
        write_elements=steps * n * (v + 2),
    )


def flash1_backward_elements(tokens: Numeric, head_dim: Numeric, capacity: Numeric) -> Array:
    """FlashAttention-1 backward: ``4 N d + T_c N (5 d + 2)``; Dao et al. 2022, arXiv 2205.14135, algorithm 4."""
    n, d = floats(tokens), floats(head_dim)
    steps = np.ceil(n / np.ceil(floats(capacity) / (4 * d)))
    return 4 * n * d + steps * n * (5 * d + 2)


@dataclass(frozen=True, slots=True)
class FlashCounts:
    """What FlashAttention-2 or 3 moves into shared memory for one key-value head.

    :ivar row_blocks: thread blocks
    :ivar block_visits: tiles of keys that they visit in all
    :ivar keys_visited: keys in those tiles, the last one of a row cut at the end of the sequence
    :ivar read_elements: Q once, K and V per visit
    :ivar write_elements: O
    :ivar lse_elements: log-sum-exp of each row, fp32
    :ivar flops: executed on whole tiles
    """

    row_blocks: Array
    block_visits: Array
    keys_visited: Array
    read_elements: Array
    write_elements: Array
    lse_elements: Array
    flops: Array

    def bytes(self, element_bytes: Numeric = 2.0) -> Array:
        """``e (reads + writes) + 4`` bytes per log-sum-exp."""
        return floats(element_bytes) * (self.read_elements + self.write_elements) + 4 * self.lse_elements


def flash_counts(
    queries: Numeric,
    keys: Numeric,
    head_dim: Numeric,
    value_dim: Numeric,
    row_tile: Numeric,
    column_tile: Numeric,
    *,
    causal: bool = True,
    window_left: Numeric | None = None,
    packed: Numeric = 1.0,
) -> FlashCounts:
    """FlashAttention-2/3: one thread block per block of query rows, keys inside; aligned at the end of the sequence.

    Reads ``N_q d + (d + d_v) sum_i keys_visited(i)``, writes ``N_q d_v`` and one fp32 a row. Rows ``[r0, r1)`` see keys
    ``[max(0, r0 + N_k - N_q - W), min(N_k, max(0, r1 + N_k - N_q)))`` in whole tiles. Dao 2023, arXiv 2307.08691,
    section 3; grouped heads packed into rows as in Shah et al. 2024, arXiv 2407.08608 (``g`` rows share a position).

    :param queries: new tokens ``N_q``, at the end of the ``keys``
    :param row_tile: query rows ``B_r`` of a thread block
    :param column_tile: keys ``B_c`` of one step
    :param causal: a query sees nothing after itself
    :param window_left: keys before itself that a query sees; all if ``None``
    :param packed: query heads packed into one block of rows
    """
    q, n = floats(queries), floats(keys)
    g, br, bc = (floats(v) for v in (packed, row_tile, column_tile))
    rows = g * q
    blocks = np.ceil(rows / br)
    visits, visited = _visits(q, n, g, br, bc, causal, window_left)
    width = floats(head_dim) + value_dim
    return FlashCounts(
        row_blocks=blocks,
        block_visits=visits,
        keys_visited=visited,
        read_elements=rows * head_dim + width * visited,
        write_elements=rows * value_dim,
        lse_elements=rows,
        flops=2 * br * bc * width * visits,
    )


def _visits(
    q: Array, n: Array, g: Array, br: Array, bc: Array, causal: bool, window_left: Numeric | None
) -> tuple[Array, Array]:
    """Tiles and keys that all row blocks visit together."""
    left = np.inf if window_left is None else floats(window_left)
    shape = np.broadcast_shapes(q.shape, n.shape, g.shape, br.shape, bc.shape, np.shape(left))
    visits, visited = np.zeros(shape), np.zeros(shape)
    most = int(np.max(np.ceil(g * q / br)))
    q, n, g, br, bc, left = (floats(v)[..., None] for v in (q, n, g, br, bc, left))
    for start in range(0, most, _BLOCKS_AT_ONCE):
        first = np.arange(start, min(most, start + _BLOCKS_AT_ONCE)) * br
        exists = first < g * q
        last_row = np.minimum(first + br, g * q) - 1
        high = np.clip(np.floor(last_row / g) + 1 + n - q, 0.0, n) if causal else n + 0 * first
        low = np.maximum(np.floor(first / g) + n - q - left, 0.0)
        first_tile, end_tile = np.floor(low / bc), np.ceil(high / bc)
        tiles = np.where(exists, np.maximum(end_tile - first_tile, 0.0), 0.0)
        seen = np.where(exists, np.maximum(np.minimum(end_tile * bc, n) - first_tile * bc, 0.0), 0.0)
        visits, visited = visits + tiles.sum(axis=-1), visited + seen.sum(axis=-1)
    return visits, visited
