"""Time of a matrix product ``y[m, n] = x[m, k] W[k, n]``: the cheapest tile of the library's menu.

A thread block walks k in steps; each step is bound by the matrix unit or by the rate at which operands reach it. Tiles
run in waves over the compute units, all of it against the bytes that memory must move. Split k costs a reduction. fp8
with dynamic scales adds the quantise pass of the activation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from kvwall.hardware.dtype import Dtype
from kvwall.simulator.kernel_time.common import MICRO, Parameters, as_array, ceil_div, miss_fraction
from kvwall.simulator.kernel_time.gemm_menu import SHORTEST_SPLIT, Menu, Tiles
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.kernel_time.quantize import rows_s
from kvwall.simulator.traffic import Array, Numeric

#: Bytes of one output, and of one partial sum of a split.
_OUTPUT_BYTES = 2.0
_PARTIAL_BYTES = 4.0

#: Benchmarks replay this many products with weights of their own on one activation.
_ROTATED_WEIGHTS = 6.0

#: Part of the last-level cache that a repeated buffer can use, and the time of cached bytes against bytes from memory.
_CACHE_SHARE = 0.5
_CACHED_TIME = 0.3

#: Bytes that a quantise pass moves for one 16-bit activation: read, read by the scale or cached, written.
_QUANTISED_BYTES = 3.0

#: Tile of which the matrix fraction speaks; each halving costs ``halving``.
_LARGE_TILE = 128 * 256

#: Panels of one wave are swept from memory again where they exceed this part of the cache.
_REREAD_SHARE = 0.5

#: Tokens up to which DeepGEMM has a kernel without overhanging rows.
_NO_OVERHANG_TOKENS = 16

_HOST_SHARPNESS = 8

#: Points whose candidates are laid out at once.
_PIECE = 1024


@dataclass(frozen=True)
class Library:
    """How one library multiplies.

    :ivar menu: its tiles
    :ivar dtype: operands of the matrix unit
    :ivar operand_bytes: bytes of one element of x and of W
    :ivar sharpness: how well memory and matrix work hide behind each other; 3 or 4
    :ivar reread: part of the swept panels that is not hidden; 0 where the library orders its tiles for the cache
    :ivar fixed: parameters that are known and not fitted
    """

    menu: Menu
    dtype: Dtype
    operand_bytes: float
    sharpness: int
    reread: float = 0.0
    fixed: Mapping[str, float] = field(default_factory=dict)


def _overlap(sharpness: int, first: Array, second: Array) -> Array:
    """``(first^p + second^p)^(1/p)`` for p of 3 or 4, without the cost of a general power."""
    if sharpness == 3:
        return np.cbrt(first * first * first + second * second * second)
    return np.sqrt(np.hypot(first * first, second * second))


def _memory_s(m: Array, n: Array, k: Array, warm: Array, p: Parameters, machine: Machine, library: Library) -> Array:
    weights, rows = library.operand_bytes * k * n, library.operand_bytes * m * k
    outputs = _OUTPUT_BYTES * m * n
    replayed = _ROTATED_WEIGHTS * weights + rows + outputs
    weights_time = np.maximum(miss_fraction(replayed, _CACHE_SHARE, machine, warm, 6.0), _CACHED_TIME)
    rows_time = np.maximum(miss_fraction(weights + rows + outputs, _CACHE_SHARE, machine, warm, 6.0), _CACHED_TIME)
    moved = weights * weights_time + rows * rows_time + outputs
    return as_array(moved / (p["hbm_fraction"] * machine.bandwidth_bytes_per_s))


def _tile_s(k: Array, tiles: Tiles, p: Parameters, machine: Machine, library: Library) -> Array:
    """Seconds of one tile on one compute unit: start, main loop, and what of the epilogue is not hidden."""
    outputs = tiles.rows * tiles.columns
    halvings = np.maximum(np.log2(_LARGE_TILE / outputs), 0.0)
    rate = machine.matrix_flops_per_s[library.dtype] / machine.units * p["matrix_fraction"] * p["halving"] ** halvings
    fed = (tiles.rows + tiles.columns) * library.operand_bytes / (p["feed_bytes_per_clock"] * machine.clock_hz)
    steps = ceil_div(k, tiles.splits * tiles.depth) * tiles.depth
    loop = steps * np.maximum(2 * outputs / rate, fed)
    write = _OUTPUT_BYTES * outputs * machine.units / (p["hbm_fraction"] * machine.bandwidth_bytes_per_s)
    return as_array(p["tile_us"] * MICRO + loop + p["epilogue"] * write)


def _reread_s(m: Array, n: Array, k: Array, waves: Array, tiles: Tiles, p: Parameters, machine: Machine,
              library: Library) -> Array:  # fmt: skip
    """Seconds to sweep the shorter operand's panels from memory once more for each further wave."""
    along_m, along_n = ceil_div(m, tiles.rows), ceil_div(n, tiles.columns)
    short = np.minimum(np.minimum(along_m, along_n), machine.units)
    long = np.minimum(np.maximum(along_m, along_n), ceil_div(machine.units, short))
    rows_short = along_m <= along_n
    short_bytes = short * np.where(rows_short, tiles.rows, tiles.columns) * k * library.operand_bytes
    wave_bytes = short_bytes + long * np.where(rows_short, tiles.columns, tiles.rows) * k * library.operand_bytes
    filled = (wave_bytes / (_REREAD_SHARE * machine.l2_bytes)) ** 4
    swept = np.maximum(np.ceil(waves) - 1, 0.0) * short_bytes * filled / (1 + filled)
    return as_array(library.reread * swept / (p["hbm_fraction"] * machine.bandwidth_bytes_per_s))


def _tiled_s(m: Array, n: Array, k: Array, warm: Array, p: Parameters, machine: Machine, library: Library) -> Array:
    """Seconds of the cheapest tile, without the launch; the last axis of the arguments is empty."""
    tiles = library.menu(m, n, k)
    along_m = np.ceil(ceil_div(m, tiles.rows) / tiles.cluster_rows) * tiles.cluster_rows
    along_n = ceil_div(n, tiles.columns)
    filled = along_m * along_n * tiles.splits / machine.units
    rounding = np.where(filled > 1, p["wave_rounding"], 1.0)
    waves = (1 - rounding) * np.maximum(filled, 1.0) + rounding * np.ceil(filled)
    tile = _tile_s(k, tiles, p, machine, library)
    body = waves * tile
    if p["overhang"]:
        missing = np.where(m <= _NO_OVERHANG_TOKENS, 0.0, ceil_div(m, tiles.rows) - m / tiles.rows)
        body = body + p["overhang"] * missing * tile * np.maximum(1.0, along_n / machine.units)
    cost = _overlap(library.sharpness, body, _memory_s(m, n, k, warm, p, machine, library))
    if library.reread:
        cost = cost + _reread_s(m, n, k, filled, tiles, p, machine, library)
    partials = 2 * _PARTIAL_BYTES * m * n * tiles.splits / (2 * machine.bandwidth_bytes_per_s)
    cost = cost + np.where(tiles.splits > 1, p["split_us"] * MICRO + partials, 0.0)
    allowed = (tiles.splits == 1) | (k >= SHORTEST_SPLIT * tiles.splits)
    return as_array(np.where(allowed, cost, np.inf).min(axis=-1))


def product_s(points: Points, parameters: Parameters, machine: Machine, library: Library) -> Array:
    """Seconds of each product of ``points`` (m, n, k; warm).

    :param parameters: of the family, by name
    """
    p = {**library.fixed, **parameters}
    m, n, k, warm = np.broadcast_arrays(*(as_array(v) for v in (points.m, points.n, points.k, points.warm)))
    shapes = np.stack([column.ravel() for column in (m, n, k, warm)])[..., None]
    # Candidates are many: in pieces they stay in the cache, and a large grid within memory.
    pieces = [
        _tiled_s(rows[0], rows[1], rows[2], rows[3], p, machine, library)
        for rows in (shapes[:, start : start + _PIECE] for start in range(0, m.size, _PIECE))
    ]
    seconds = p["launch_us"] * MICRO + np.concatenate([np.zeros(0), *pieces]).reshape(m.shape)
    if "row_us" in p:
        seconds = seconds + rows_s(m, _QUANTISED_BYTES * m * k, p, machine)
    if "host_us" in p:
        slowest = np.maximum(seconds, p["host_us"] * MICRO)
        fastest = np.minimum(seconds, p["host_us"] * MICRO)
        seconds = slowest * (1 + (fastest / slowest) ** _HOST_SHARPNESS) ** (1 / _HOST_SHARPNESS)
    return np.maximum(seconds, np.where(warm > 0, 0.0, bound_s(points, machine, library)))


def bound_s(points: Points, machine: Machine, library: Library) -> Array:
    """The data sheet's bound: operands and outputs once at peak bandwidth, or FLOP at peak rate."""
    m, n, k = (as_array(value) for value in (points.m, points.n, points.k))
    moved: Numeric = library.operand_bytes * (m * k + k * n) + _OUTPUT_BYTES * m * n
    flops = 2 * m * n * k
    return np.maximum(moved / machine.bandwidth_bytes_per_s, flops / machine.matrix_flops_per_s[library.dtype])
