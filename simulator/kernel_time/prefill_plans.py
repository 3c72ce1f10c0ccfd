"""Tiles of prefill attention: how many row tiles a kernel starts, and the keys that each visits under the mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kvwall.simulator.kernel_time.common import as_array, ceil_div
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.traffic import Array

#: Row tiles of one sequence that are counted one by one; more are sampled evenly.
_COUNTED_TILES = 64


@dataclass(frozen=True)
class Tiles:
    """What one kernel makes of a prefill.

    :ivar rows: rows of a tile
    :ivar step_tokens: keys of one step
    :ivar tiles: of the whole launch
    :ivar keys: keys that one tile visits on average, masked ones of its last block included in part
    :ivar longest_keys: keys that the longest tile visits
    :ivar filled: part of a tile's rows that a short sequence fills, at most 1
    :ivar packed: whether the query heads of a group are rows of one tile
    """

    rows: Array
    step_tokens: Array
    tiles: Array
    keys: Array
    longest_keys: Array
    filled: Array
    packed: Array


def visited_keys(points: Points, tile_tokens: Array, step_tokens: Array, exact: float) -> tuple[Array, Array]:
    """Keys that the row tiles of one sequence visit: on average, and in the last one.

    The new tokens stand at the end of the context, so tile ``i`` sees everything up to its last token, or a window of
    that. Up to 64 tiles are counted exactly, more at 64 evenly spaced places.

    :param exact: weight of the keys needed, against those of whole blocks
    """
    new, length, window, tile, step = np.broadcast_arrays(
        *(as_array(value) for value in (points.q_len, points.kv_len, points.window, tile_tokens, step_tokens))
    )
    tiles = np.ceil(new / tile)[..., None]
    counted = np.minimum(tiles, _COUNTED_TILES)
    place = np.arange(_COUNTED_TILES, dtype=float)
    index = np.where(tiles <= _COUNTED_TILES, place, np.floor((place + 0.5) * tiles / counted))
    start = (length - new)[..., None] + index * tile[..., None]
    end = np.minimum(start + tile[..., None], length[..., None])
    first = np.where(window[..., None] > 0, np.maximum(start - window[..., None], 0.0), 0.0)
    blocks = np.ceil(end / step[..., None]) - np.floor(first / step[..., None])
    keys = (1 - exact) * blocks * step[..., None] + exact * (end - first)
    average = np.where(place < counted, keys, 0.0).sum(axis=-1) / counted[..., 0]
    last_start = length - new + (tiles[..., 0] - 1) * tile
    last_first = np.where(window > 0, np.maximum(last_start - window, 0.0), 0.0)
    longest = (np.ceil(length / step) - np.floor(last_first / step)) * step
    return average, longest


def _tiles(points: Points, rows: Array, step_tokens: Array, packed: Array, exact: float) -> Tiles:
    group = as_array(points.q_heads) / points.kv_heads
    tile_tokens = np.where(packed, rows / group, rows)
    keys, longest = visited_keys(points, tile_tokens, step_tokens, exact)
    heads = np.where(packed, points.kv_heads, points.q_heads)
    tiles = as_array(points.batch) * heads * ceil_div(points.q_len, tile_tokens)
    filled = np.minimum(1.0, as_array(points.q_len) / tile_tokens)
    return Tiles(rows, step_tokens, tiles, keys, longest, filled, packed)


def _packs(points: Points, rows: Array) -> Array:
    """FlashAttention-3 makes rows of a group's heads where that leaves fewer rows of the tiles empty."""
    new, group = as_array(points.q_len), as_array(points.q_heads) / points.kv_heads
    alone = new / (ceil_div(new, rows) * rows)
    together = new * group / (ceil_div(new * group, rows) * rows)
    return np.asarray((group > 1) & (alone < 0.9 * together))


def flash3_tiles(points: Points) -> Tiles:
    """FlashAttention-3, 16 bits, causal over pages (hopper/tile_size.h of Dao-AILab/flash-attention)."""
    head_dim = as_array(points.head_dim)
    rows = np.where(head_dim <= 64, 192.0, 128.0)
    step = np.where(head_dim <= 128, 128.0, np.where(head_dim <= 192, 96.0, 80.0))
    return _tiles(points, rows, step, _packs(points, rows), exact=0.5)


def flash3_fp8_tiles(points: Points) -> Tiles:
    """FlashAttention-3 over an fp8 cache: longer steps up to 128 channels, those of 16 bits above, as seen."""
    head_dim = as_array(points.head_dim)
    rows = np.where(head_dim <= 64, 192.0, 128.0)
    narrow = np.where(head_dim <= 64, 160.0, 192.0)
    step = np.where(head_dim <= 128, narrow, np.where(head_dim <= 192, 96.0, 80.0))
    return _tiles(points, rows, step, _packs(points, rows), exact=0.5)


def flash2_tiles(points: Points) -> Tiles:
    """FlashAttention-2 over a paged cache: always the split kernel's tile of 64 rows (csrc/flash_attn/src)."""
    head_dim = as_array(points.head_dim)
    step = np.where(head_dim <= 64, 256.0, np.where(head_dim <= 128, 128.0, 64.0))
    return _tiles(points, np.full_like(step, 64.0), step, np.zeros_like(step, dtype=bool), exact=0.5)


def trtllm_tiles(points: Points, exact: float = 0.0) -> Tiles:
    """TensorRT-LLM's fused kernel: 128 x 128, with 64 rows for short sequences."""
    rows = np.where(as_array(points.q_len) <= 64, 64.0, 128.0)
    return _tiles(points, rows, np.full_like(rows, 128.0), np.zeros_like(rows, dtype=bool), exact)


def trtllm_latent_tiles(points: Points) -> Tiles:
    """The same tiles for the expanded heads of a latent cache."""
    return trtllm_tiles(points, exact=0.5)
