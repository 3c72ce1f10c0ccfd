"""Time of prefill attention: work of all tiles spread over the units, against the longest tile, plus the cache write.

``t = launch + smooth max(smooth max(longest tile, work / units + tail), traffic) + write of the new keys and values``.
One unit computes at ``peak / units * matrix_fraction``, more or less of it by head_dim; every tile pays some key blocks
extra (masked diagonal, prologue, epilogue), which is what makes short sequences inefficient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from kvwall.hardware.dtype import Dtype
from kvwall.simulator.kernel_time.common import (
    HALF_BYTES,
    MICRO,
    Parameters,
    as_array,
    microseconds,
    miss_fraction,
    ratio,
    smooth_max,
)
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.kernel_time.prefill_plans import Tiles
from kvwall.simulator.traffic import Array

#: Achieved part of the memory bandwidth; prefill hardly depends on it.
_HBM = 0.85

#: What traffic that stays in the last-level cache costs, against memory.
_CACHED_COST = 0.25

#: Half of the slowdown of a power-limited device is reached by a launch this long, repeated back to back.
_THROTTLED_S = 5e-3

#: A packed tile gathers its rows one by one.
_PACKED_COST = 1.1

LAUNCH = microseconds("launch_us", "launch and prologue", 1, 30, 9)
MATRIX = ratio("matrix_fraction", "achieved part of the matrix peak in a full tile at head_dim 128", 0.2, 1, 0.65)
MASKED = ratio("extra_blocks", "key blocks that every tile costs beyond those it needs", 0.01, 5, 1)
LONGEST = ratio("longest_ratio", "time of the longest tile alone, against one that shares the device", 0.3, 3, 0.9)
TAIL = ratio("tail", "uneven end of the launch", 0.01, 5, 0.5)
GAIN = ratio("doubling_gain", "matrix rate per doubling of head_dim up to 128", 0.5, 3, 1.2)
WIDE_GAIN = ratio("wide_gain", "matrix rate per doubling of head_dim above 128", 0.3, 3, 1.1)
WRITE = microseconds("write_us", "one thread block of the kernel that writes a token to the cache", 0.05, 60, 2)
TILE = microseconds("tile_us", "start and end of one tile", 0.02, 30, 0.5)


@dataclass(frozen=True)
class PrefillKernel:
    """What is known of one prefill kernel besides its fitted numbers.

    :ivar tiles: its tiles
    :ivar cache_bytes: of one cached channel
    :ivar dtype: of the products
    :ivar tail_s: uneven end, from tiles per unit, seconds of an average tile, seconds of the longest one
    :ivar sharpness: of the maximum of work and longest tile
    :ivar short_tile: part of a tile's extra cost that stays when a short sequence fills next to none of its rows
    :ivar tile_us: start and end of a tile where that is not fitted
    :ivar launch_exponent: growth of the launch with head_dim up to 128
    :ivar wide_launch_exponent: and above
    :ivar throttle: slowdown of a long launch, whose power the device limits
    :ivar cache_share: part of the last-level cache that a repeated buffer can use
    :ivar cache_edge: steepness of its end
    :ivar writes_cache: whether a kernel of its own writes the new keys and values
    :ivar latent_channels: cached channels per token where they are not those of the heads
    :ivar write_bytes: read and written for one new channel of keys and values: 16 bits in, the cache's format out
    """

    tiles: Callable[[Points], Tiles]
    cache_bytes: float
    dtype: Dtype
    tail_s: Callable[[Array, Array, Array], Array]
    sharpness: float
    short_tile: float
    tile_us: float = 0.0
    launch_exponent: float = 0.0
    wide_launch_exponent: float = 0.0
    throttle: float = 0.15
    cache_share: float = 0.8
    cache_edge: float = 6.0
    writes_cache: bool = True
    latent_channels: float = 0.0
    write_bytes: float = 4.0


def last_wave_tail_s(waves: Array, average_s: Array, longest_s: Array) -> Array:
    """Units idle in the last wave of tiles that a persistent kernel deals out longest first."""
    return average_s * (np.ceil(waves) - waves)


def mixed_tail_s(waves: Array, average_s: Array, longest_s: Array) -> Array:
    """A last wave that counts less the more waves there are, and a longest tile that may start last."""
    return (
        average_s * (np.ceil(waves) - waves) / np.maximum(waves, 1) + late_tile_tail_s(waves, average_s, longest_s) * 2
    )


def late_tile_tail_s(waves: Array, average_s: Array, longest_s: Array) -> Array:
    """Half of a longest tile that may start last."""
    return longest_s * (1 - 1 / np.maximum(waves, 1)) / 2


def causal_pairs(points: Points) -> Array:
    """Query-key pairs of one sequence and head that the mask leaves."""
    new, length = as_array(points.q_len), as_array(points.kv_len)
    window = np.where(as_array(points.window) > 0, np.minimum(points.window, length), length)
    # Queries whose whole window is filled see ``window`` keys; the ones before them see one more each.
    growing = np.clip(window - (length - new), 0, new)
    first = length - new + 1
    return as_array(growing * first + growing * (growing - 1) / 2 + (new - growing) * window)


def bound_s(points: Points, machine: Machine, kernel: PrefillKernel) -> Array:
    """The data sheet's bound: FLOP under the mask at peak, or queries, outputs and the cache once at peak bandwidth."""
    channels = as_array(points.head_dim) + points.value_dim
    flops = 2 * as_array(points.batch) * points.q_heads * channels * causal_pairs(points)
    moved = _traffic_bytes(points, kernel)
    return np.maximum(moved / machine.bandwidth_bytes_per_s, flops / machine.matrix_flops_per_s[kernel.dtype])


def _read_tokens(points: Points) -> Array:
    window, length = as_array(points.window), as_array(points.kv_len)
    return np.where(window > 0, np.minimum(length, window + points.q_len), length)


def _traffic_bytes(points: Points, kernel: PrefillKernel) -> Array:
    channels = as_array(points.head_dim) + points.value_dim
    cache = _read_tokens(points) * points.kv_heads * channels * kernel.cache_bytes
    queries = as_array(points.q_len) * points.q_heads * channels * HALF_BYTES
    return as_array(points.batch * (cache + queries))


def _work_s(points: Points, p: Parameters, machine: Machine, kernel: PrefillKernel) -> Array:
    """Seconds of the tiles."""
    tiles, dims = kernel.tiles(points), as_array(points.head_dim) / 128
    gain = np.where(dims <= 1, p["doubling_gain"], p["wide_gain"])
    rate = machine.matrix_flops_per_s[kernel.dtype] / machine.units * p["matrix_fraction"] * dims ** np.log2(gain)
    channels = as_array(points.head_dim) + points.value_dim
    key_s = 2 * channels * tiles.rows / rate * np.where(tiles.packed, _PACKED_COST, 1.0)
    kept = np.where(tiles.filled < 1, kernel.short_tile + (1 - kernel.short_tile) * tiles.filled, 1.0)
    extra_keys = p["extra_blocks"] * tiles.step_tokens * kept
    tile_s = p.get("tile_us", kernel.tile_us) * MICRO * dims**0.5
    average_s = tile_s + key_s * (tiles.keys + extra_keys)
    longest_s = tile_s + key_s * (tiles.longest_keys + extra_keys) * p["longest_ratio"]
    waves = tiles.tiles / machine.units
    work_s = average_s * waves + p["tail"] * kernel.tail_s(waves, average_s, longest_s)
    body_s = smooth_max(kernel.sharpness, longest_s, work_s)
    return body_s * (1 + kernel.throttle * body_s / (body_s + _THROTTLED_S))


def _write_s(points: Points, p: Parameters, machine: Machine, kernel: PrefillKernel, memory_part: Array) -> Array:
    """Seconds of writing the new keys and values: one thread block a token, and their bytes read and written."""
    channels = as_array(points.head_dim) + points.value_dim
    cached = kernel.latent_channels or as_array(points.kv_heads) * channels
    tokens = as_array(points.batch) * points.q_len
    bytes_s = tokens * cached * kernel.write_bytes / (_HBM * machine.bandwidth_bytes_per_s) * memory_part
    if not kernel.writes_cache:
        return as_array(bytes_s)
    threads = np.minimum(512, as_array(points.kv_heads) * points.head_dim) / 2048
    return as_array(bytes_s + tokens * threads / machine.units * p["write_us"] * MICRO)


def prefill_s(points: Points, p: Parameters, machine: Machine, kernel: PrefillKernel) -> Array:
    """Seconds of one prefill attention with its cache write."""
    channels = as_array(points.head_dim) + points.value_dim
    moved = _traffic_bytes(points, kernel)
    kv = as_array(points.batch) * points.kv_len * points.kv_heads * channels * kernel.cache_bytes
    miss = miss_fraction(moved + 2 * kv, kernel.cache_share, machine, points.warm, kernel.cache_edge)
    memory_part = miss + (1 - miss) * _CACHED_COST
    traffic_s = moved / (_HBM * machine.bandwidth_bytes_per_s) * memory_part
    dims = as_array(points.head_dim) / 128
    launch_s = p["launch_us"] * MICRO * dims ** np.where(dims <= 1, kernel.launch_exponent, kernel.wide_launch_exponent)
    body_s = smooth_max(3.0, _work_s(points, p, machine, kernel), traffic_s)
    seconds = launch_s + body_s + _write_s(points, p, machine, kernel, memory_part)
    cold_bound = np.where(as_array(points.warm) > 0, 0.0, bound_s(points, machine, kernel))
    return np.maximum(seconds, cold_bound)


def seconds_of(kernel: PrefillKernel) -> Callable[[Points, Parameters, Machine], Array]:
    """:func:`prefill_s` of one kernel."""
    return partial(prefill_s, kernel=kernel)


def bound_of(kernel: PrefillKernel) -> Callable[[Points, Machine], Array]:
    """:func:`bound_s` of one kernel."""
    return partial(bound_s, kernel=kernel)
