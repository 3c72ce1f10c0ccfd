"""Tiles of matrix products: what each library may start for a shape, and how it cuts the work.

cuBLAS picks nearly the best of many tiles and splits of k, so that its time is a minimum over a menu. CUTLASS under
vLLM follows a fixed table of shapes; DeepGEMM picks among tiles of 64 or 128 rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from kvwall.simulator.traffic import Array

#: No library cuts k into pieces shorter than this.
SHORTEST_SPLIT = 256.0

_SPLITS = (2, 4, 8, 16)
_AMPERE_SPLITS = (2, 3, 4, 5, 6, 8, 12, 16)

#: Largest tile, in outputs, that is worth a split of k: larger ones fill the device without.
_LARGEST_SPLIT_TILE = 128 * 256

# Warp-group products of Hopper are 64 rows high and a multiple of 8 wide; either operand may be the rows.
_HOPPER = (
    (64, 16), (64, 32), (64, 64), (64, 96), (64, 128), (64, 192), (64, 256), (128, 16), (128, 32), (128, 96),
    (128, 128), (128, 160), (128, 192), (128, 224), (128, 256), (192, 192), (320, 128), (256, 160), (256, 192),
)  # fmt: skip
_AMPERE = ((128, 256), (128, 128), (64, 128), (64, 64), (64, 256), (64, 32), (128, 32))
_DEEP_ROWS = (64, 128)
_DEEP_COLUMNS = tuple(range(16, 129, 16))


@dataclass(frozen=True)
class Tiles:
    """Candidates along the last axis, or one tile for each shape.

    :ivar rows: tokens (m) of a tile
    :ivar columns: output features (n) of a tile
    :ivar splits: pieces of k, each worked on by thread blocks of its own
    :ivar depth: elements of k that one step of the main loop takes
    :ivar cluster_rows: tiles along m that start together, so that their number is rounded up
    """

    rows: Array
    columns: Array
    splits: Array
    depth: Array
    cluster_rows: Array


#: From m, n and k (with an empty last axis) to tiles.
Menu = Callable[[Array, Array, Array], Tiles]


def _tiles(rows: Array, columns: Array, splits: Array, depth: Array, cluster_rows: Array) -> Tiles:
    return Tiles(*(np.asarray(column, dtype=float) for column in (rows, columns, splits, depth, cluster_rows)))


def _menu(shapes: Iterable[tuple[int, int]], depth: float, splits: tuple[int, ...]) -> Tiles:
    whole = [(rows, columns, 1) for rows, columns in shapes]
    cut = [(rows, columns, split) for rows, columns, _ in whole for split in splits]
    entries = np.array(whole + [entry for entry in cut if entry[0] * entry[1] <= _LARGEST_SPLIT_TILE], dtype=float)
    ones = np.ones(len(entries))
    return _tiles(entries[:, 0], entries[:, 1], entries[:, 2], ones * depth, ones)


def _both_ways(shapes: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    return sorted({way for rows, columns in shapes for way in ((rows, columns), (columns, rows))})


_CUBLAS_HOPPER = _menu(_both_ways(_HOPPER), 64.0, _SPLITS)
_CUBLAS_AMPERE = _menu(_both_ways(_AMPERE), 32.0, _AMPERE_SPLITS)
_DEEP = _menu([(rows, columns) for rows in _DEEP_ROWS for columns in _DEEP_COLUMNS], 128.0, ())
_DEEP_TWO_TILES = (128.0, 192.0)


def cublas_hopper(m: Array, n: Array, k: Array) -> Tiles:
    """cuBLAS on Hopper."""
    return _CUBLAS_HOPPER


def cublas_ampere(m: Array, n: Array, k: Array) -> Tiles:
    """cuBLAS on Ampere; also what stands for a library of which nothing is known."""
    return _CUBLAS_AMPERE


def deepgemm(m: Array, n: Array, k: Array) -> Tiles:
    """DeepGEMM: fp8 with a scale for each 128 elements of k, never split.

    From 129 to 192 tokens its times are those of two tiles of 128 rows, half empty, not of three of 64.
    """
    low, high = _DEEP_TWO_TILES
    return replace(_DEEP, rows=np.where((m > low) & (m <= high), 128.0, _DEEP.rows))


def cutlass_fp8(m: Array, n: Array, k: Array) -> Tiles:
    """CUTLASS fp8 of vLLM on Hopper: one tile by shape, operands swapped up to 64 tokens.

    Reference: vLLM, ``scaled_mm_sm90_fp8_dispatch.cuh``.
    """
    few, some, many = m <= 64, m <= 128, (m >= 8192) & (k >= 6144)
    wide = (m > 16) & (n > 1280)
    rows = np.where(few, np.where(wide, 64.0, 16.0), np.where(some, 64.0, np.where(many, 256.0, 128.0)))
    columns, depth = np.where(few, 64.0, 128.0), np.where(few, 256.0, 128.0)
    return _tiles(rows, columns, np.ones_like(rows), depth, np.where(few, 1.0, 2.0))
