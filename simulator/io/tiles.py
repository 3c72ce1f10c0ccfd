"""Tiles of attention kernels: what they occupy on chip, those that kernels ship with, the largest that fits, waves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kvwall.simulator.io.arrays import floats
from kvwall.simulator.traffic import Array, Numeric

#: Part of a register file that accumulators may take; the rest holds addresses, statistics and operands (the published
#: tiles of FlashAttention-3 and FlashMLA stay below it).
USABLE_REGISTERS = 0.8

Mask = NDArray[np.bool_]
Kernel = Literal["fa2", "fa2 small sram", "fa2 small sram causal", "fa2 split", "fa3", "fa3 causal", "fa3 fp8"]

#: Largest head dimension, query rows, keys: FlashAttention repository at commit 0251105 (2026-08).
_PUBLISHED: dict[Kernel, tuple[tuple[int, int, int], ...]] = {
    "fa2": ((64, 128, 128), (192, 128, 64), (256, 128, 64)),
    "fa2 small sram": ((64, 128, 128), (96, 128, 64), (128, 128, 32), (192, 128, 64), (256, 64, 64)),
    "fa2 small sram causal": ((64, 128, 128), (128, 64, 64), (192, 128, 64), (256, 64, 64)),
    "fa2 split": ((64, 64, 256), (128, 64, 128), (256, 64, 64)),
    "fa3": ((64, 192, 192), (96, 192, 144), (128, 128, 176), (192, 128, 112), (256, 128, 80)),
    "fa3 causal": ((64, 192, 128), (96, 192, 144), (128, 128, 128), (192, 128, 112), (256, 128, 80)),
    "fa3 fp8": ((64, 192, 160), (96, 192, 128), (128, 128, 224), (192, 128, 160), (256, 128, 128)),
}

#: Query rows and keys that a chosen tile may have: a matrix instruction takes 16 rows at least.
ROW_TILES = (16.0, 32.0, 64.0, 128.0)
COLUMN_TILES = (16.0, 32.0, 64.0, 128.0)


def published_tile(kernel: Kernel, head_dim: Numeric) -> tuple[Array, Array]:
    """Query rows and keys of the tile that ``kernel`` ships for a head dimension; the last row beyond 256."""
    table = floats(_PUBLISHED[kernel])
    row = np.minimum(np.searchsorted(table[:, 0], floats(head_dim)), len(table) - 1)
    return table[row, 1], table[row, 2]


def tile_sram_bytes(
    row_tile: Numeric, column_tile: Numeric, query_row_bytes: Numeric, staged_row_bytes: Numeric, stages: Numeric = 1.0
) -> Array:
    """Shared memory of a tile: ``B_r q + stages B_c w``; ``stages`` is 1 in FlashAttention-2 and 2 in 3.

    Kernel traits of the FlashAttention repository (P stays in registers).

    :param query_row_bytes: one row of Q, or of O where that is wider and takes its place
    :param staged_row_bytes: key and value of one token and head as they are stored
    """
    rows = floats(row_tile) * query_row_bytes
    return rows + floats(stages) * floats(column_tile) * staged_row_bytes


def tile_register_bytes(row_tile: Numeric, column_tile: Numeric, value_dim: Numeric) -> Array:
    """Registers of the accumulators: O and S in fp32, ``4 B_r (d_v + B_c)`` bytes; P takes the place of S.

    Shah et al. 2024, FlashAttention-3, arXiv 2407.08608, section 3.
    """
    rows = floats(row_tile)
    return rows * 4 * (floats(value_dim) + column_tile)


@dataclass(frozen=True, slots=True)
class TileRoom:
    """What a kernel must hold beside its tile, and where.

    :ivar query_row_bytes: one row of Q
    :ivar staged_row_bytes: one token of the cache of one head as stored, of which ``stages`` tiles are in flight
    :ivar converted_row_bytes: one token as the matrix unit takes it, where it is made on chip; one tile
    :ivar resident_bytes: what stays for the whole kernel, such as factors that rebuild keys
    :ivar output_dim: columns of the accumulated output
    """

    query_row_bytes: Numeric
    staged_row_bytes: Numeric
    converted_row_bytes: Numeric
    resident_bytes: Numeric
    output_dim: Numeric
    stages: float = 2.0

    def sram_bytes(self, row_tile: Numeric, column_tile: Numeric) -> Array:
        """Shared memory with a tile of that size."""
        base = tile_sram_bytes(row_tile, column_tile, self.query_row_bytes, self.staged_row_bytes, self.stages)
        return base + floats(column_tile) * self.converted_row_bytes + self.resident_bytes


@dataclass(frozen=True, slots=True)
class Tile:
    """A chosen tile; where none fits, the smallest one and ``fits`` false."""

    row_tile: Array
    column_tile: Array
    fits: Mask


def choose_tile(
    room: TileRoom,
    sram_per_block_bytes: Numeric,
    registers_per_unit_bytes: Numeric,
    most_rows: Numeric = np.inf,
) -> Tile:
    """The tile of most query rows that fits, of those the one of most keys.

    Traffic into a unit falls as ``1 / B_r`` (see :func:`kvwall.simulator.io.exact_counts.flash_counts`), so rows come
    first; no more than ``most_rows``, rounded up to a tile, are of use.
    """
    rows, columns = (v.ravel() for v in np.meshgrid(ROW_TILES, COLUMN_TILES, indexing="ij"))
    room = TileRoom(
        floats(room.query_row_bytes)[..., None],
        floats(room.staged_row_bytes)[..., None],
        floats(room.converted_row_bytes)[..., None],
        floats(room.resident_bytes)[..., None],
        floats(room.output_dim)[..., None],
        room.stages,
    )
    sram = room.sram_bytes(rows, columns) <= floats(sram_per_block_bytes)[..., None]
    limit = USABLE_REGISTERS * floats(registers_per_unit_bytes)[..., None]
    registers = tile_register_bytes(rows, columns, room.output_dim) <= limit
    useful = rows < 2 * np.maximum(floats(most_rows), ROW_TILES[0])[..., None]
    allowed = sram & registers & useful
    best = np.argmax(np.where(allowed, rows * 1000 + columns, 0.0), axis=-1)
    return Tile(rows[best], columns[best], np.asarray(allowed.any(axis=-1), dtype=np.bool_))


def blocks_per_unit(
    sram_per_unit_bytes: Numeric, tile_sram: Numeric, registers_per_unit_bytes: Numeric, tile_registers: Numeric
) -> Array:
    """Thread blocks that share a compute unit: the smaller of the whole quotients of memory and of registers."""
    memory = np.floor(floats(sram_per_unit_bytes) / tile_sram)
    return np.minimum(memory, np.floor(floats(registers_per_unit_bytes) / tile_registers))


def wave_efficiency(blocks: Numeric, units: Numeric, per_unit: Numeric = 1.0) -> Array:
    """Part of the slots that work: ``x / ceil(x)`` with ``x = blocks / (units per_unit)`` waves.

    NVIDIA, Matrix multiplication background, wave quantisation.
    """
    waves = floats(blocks) / (floats(units) * per_unit)
    return waves / np.ceil(waves)


def row_efficiency(rows: Numeric, row_tile: Numeric) -> Array:
    """Part of the rows of all tiles that hold a query: ``N / (B_r ceil(N / B_r))``."""
    n, tile = floats(rows), floats(row_tile)
    return n / (tile * np.ceil(n / tile))


def packs_grouped_heads(queries: Numeric, shared_by: Numeric, row_tile: Numeric) -> Mask:
    """Whether FlashAttention-3 packs ``g`` heads into rows: row efficiency unpacked below 0.9 of that packed.

    FlashAttention repository, hopper/heuristics.h.
    """
    packed = floats(queries) * shared_by
    return floats(row_efficiency(queries, row_tile)) < 0.9 * floats(row_efficiency(packed, row_tile))
