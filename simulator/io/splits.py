"""How many thread blocks share one sequence in decode: the rules that kernels ship with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kvwall.simulator.io.arrays import floats
from kvwall.simulator.traffic import Array, Numeric

_MOST_SPLITS = 128
#: A split is taken when it wastes at most this much of the best occupancy.
_GOOD_ENOUGH = 0.85
#: From this part of the slots on, one block a head is enough.
_NEARLY_FULL = 0.8
_LARGE_HEAD_BYTES = 50 * 2**20


def _smallest_good_split(blocks: Array, slots: Array, most: Array, eligible: NDArray[np.bool_]) -> Array:
    """Smallest eligible candidate within 85 % of the best wave efficiency; candidates lie on the last axis."""
    candidates = np.arange(1.0, _MOST_SPLITS + 1)
    waves = blocks[..., None] * candidates / slots[..., None]
    efficiency = np.where(eligible & (candidates <= most[..., None]), waves / np.ceil(waves), 0.0)
    good = efficiency >= _GOOD_ENOUGH * efficiency.max(axis=-1, keepdims=True)
    return floats(candidates[np.argmax(good & (efficiency > 0), axis=-1)])


def flash2_splits(work: Numeric, units: Numeric, key_blocks: Numeric) -> Array:
    """FlashAttention-2's choice: smallest ``s`` whose wave efficiency reaches 85 % of the best.

    ``eff(s) = x / ceil(x)``, ``x = W s / (2 units)``; only ``s`` that change ``ceil(blocks / s)``; 1 from
    ``W >= 0.8 * 2 units``. FlashAttention repository, csrc/flash_attn/flash_api.cpp.

    :param work: ``W = B H ceil(s_q / 64)`` thread blocks without splitting, grouped heads packed
    :param units: compute units
    :param key_blocks: tiles of keys of a sequence
    """
    w, n, b = np.broadcast_arrays(*(floats(v) for v in (work, 2.0 * floats(units), key_blocks)))
    candidates = np.arange(1.0, _MOST_SPLITS + 1)
    share = np.ceil(b[..., None] / candidates)
    eligible = (candidates == 1) | (share != np.ceil(b[..., None] / np.maximum(candidates - 1, 1)))
    chosen = _smallest_good_split(w, n, np.minimum(n, b), eligible)
    return np.where(w >= _NEARLY_FULL * n, 1.0, chosen)


def flash3_splits(
    work: Numeric,
    units: Numeric,
    key_blocks: Numeric,
    *,
    row_blocks: Numeric = 1.0,
    head_bytes: Numeric = 0.0,
    causal: bool = True,
) -> Array:
    """FlashAttention-3's choice: as its predecessor with one block a unit, without the test of ``ceil(blocks / s)``.

    One split from ``W >= 0.8 units`` (but ``ceil(bytes / 50 MiB)`` where a large head is walked by many row blocks
    without a mask) and for at most 4 tiles of keys. FlashAttention repository, hopper/heuristics.h.

    :param work: ``W = B H_kv ceil(N_q g / B_r)``
    :param row_blocks: row blocks of one head
    :param head_bytes: keys and values of one head
    """
    w, n, b = np.broadcast_arrays(*(floats(v) for v in (work, units, key_blocks)))
    chosen = _smallest_good_split(w, n, np.minimum(n, b), np.ones(_MOST_SPLITS, dtype=np.bool_))
    size = floats(head_bytes)
    streams = (size > _LARGE_HEAD_BYTES) & (floats(row_blocks) >= 2 * n) & (not causal)
    full = np.where(streams, np.minimum(np.ceil(size / _LARGE_HEAD_BYTES), _MOST_SPLITS), 1.0)
    return np.where(w >= _NEARLY_FULL * n, full, np.where(b <= 4, 1.0, chosen))


def one_wave_chunk_pages(pages: Array, heads: Numeric, slots: Numeric, page_tokens: Numeric) -> Array:
    """Smallest chunk of pages with which all chunks of a batch run in one wave, at least ``max(128 / page, 1)``.

    ``sum_i ceil(pages_i / chunk) heads <= slots``, by bisection; the longest sequence whole where even that is too
    many. Ye et al. 2025, FlashInfer, arXiv 2501.01005, section 3.3, and its scheduler.

    :param pages: pages of each sequence, sequences on the last axis
    :param heads: key-value heads, each with thread blocks of its own
    :param slots: thread blocks that run at once
    """
    lengths = floats(pages)
    shape = np.broadcast_shapes(lengths.shape[:-1], np.shape(heads), np.shape(slots), np.shape(page_tokens))
    low = np.broadcast_to(np.maximum(128 // floats(page_tokens), 1.0), shape)
    high = np.maximum(low, np.broadcast_to(lengths.max(axis=-1), shape))
    for _ in range(64):
        middle = np.floor((low + high) / 2)
        fits = np.ceil(lengths / middle[..., None]).sum(axis=-1) * heads <= slots
        low, high = np.where(fits | (low >= high), low, middle + 1), np.where(fits, middle, high)
    return floats(high)
