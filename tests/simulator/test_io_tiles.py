"""Tiles: published shapes and their memory, the largest that fits, occupancy and waves."""

from __future__ import annotations

import numpy as np
import pytest

from kvwall.simulator.io.exact_counts import flash_counts
from kvwall.simulator.io.tiles import (
    TileRoom,
    blocks_per_unit,
    choose_tile,
    packs_grouped_heads,
    published_tile,
    row_efficiency,
    tile_register_bytes,
    tile_sram_bytes,
    wave_efficiency,
)

KIB = 1024


@pytest.mark.parametrize(
    ("kernel", "head_dim", "tile"),
    [
        ("fa2", 64, (128, 128)), ("fa2", 128, (128, 64)), ("fa2 small sram", 128, (128, 32)),
        ("fa2 small sram causal", 128, (64, 64)), ("fa2 small sram", 256, (64, 64)), ("fa2 split", 64, (64, 256)),
        ("fa2 split", 96, (64, 128)), ("fa2 split", 192, (64, 64)), ("fa3", 64, (192, 192)), ("fa3", 128, (128, 176)),
        ("fa3 causal", 128, (128, 128)), ("fa3", 256, (128, 80)), ("fa3 fp8", 128, (128, 224)),
    ],
)  # fmt: skip
def test_published_tiles(kernel, head_dim, tile):
    assert tuple(float(side) for side in published_tile(kernel, head_dim)) == tile


def test_published_tiles_broadcast():
    rows, columns = published_tile("fa3", np.array([64, 80, 128, 192]))
    assert (rows.tolist(), columns.tolist()) == ([192, 192, 128, 128], [192, 144, 176, 112])


@pytest.mark.parametrize(
    ("d", "br", "bc", "kib"), [(128, 128, 64, 64), (128, 128, 32, 48), (256, 128, 64, 128), (256, 64, 64, 96)]
)
def test_shared_memory_of_published_tiles(d, br, bc, kib):
    assert float(tile_sram_bytes(br, bc, 2 * d, 4 * d)) == kib * KIB


def test_two_blocks_of_the_published_tile_share_an_a100_unit():
    registers = tile_register_bytes(128, 64, 128)
    assert float(registers) == 128 * 4 * (128 + 64)
    assert float(blocks_per_unit(164 * KIB, 64 * KIB, 256 * KIB, registers)) == 2


def test_published_tiles_of_two_stages_fit_a_hopper_block():
    for d in (64, 128, 192, 256):
        rows, columns = published_tile("fa3", d)
        assert float(tile_sram_bytes(rows, columns, 2 * d, 4 * d, 2)) <= 227 * KIB
        assert float(tile_register_bytes(rows, columns, d)) <= 0.8 * 256 * KIB


def test_chosen_tile_of_ordinary_heads():
    room = TileRoom(256, 512, 0, 0, 128)
    tile = choose_tile(room, np.array([227.0, 99.0, 32.0, 10.0]) * KIB, 256 * KIB)
    assert tile.row_tile.tolist() == [128, 128, 64, 16]
    assert tile.column_tile.tolist() == [128, 64, 16, 16]
    assert tile.fits.tolist() == [True, True, True, False]


def test_chosen_tile_has_no_more_rows_than_there_are():
    room = TileRoom(256, 512, 0, 0, 128)
    tile = choose_tile(room, 227 * KIB, 256 * KIB, np.array([1, 16, 17, 33, 5000]))
    assert tile.row_tile.tolist() == [16, 16, 32, 64, 128]


def test_registers_limit_a_wide_output():
    # 576 columns of queries, 512 of outputs: 128 rows would take 256 KiB for the outputs alone.
    tile = choose_tile(TileRoom(1152, 1152, 0, 0, 512), 10_000 * KIB, 256 * KIB)
    assert float(tile.row_tile) == 64


def test_factors_must_fit_beside_the_tile():
    # The factor of a head of rank 256 is 64 KiB: it fits a block of 227 KiB and not one of 99 KiB.
    room = TileRoom(256, 1024, 256, 64 * KIB, 256)
    assert choose_tile(room, np.array([227.0, 99.0]) * KIB, 256 * KIB).fits.tolist() == [True, False]


def test_more_shared_memory_never_moves_more():
    sram = np.arange(20, 300) * float(KIB)
    tile = choose_tile(TileRoom(256, 512, 0, 0, 128), sram, 256 * KIB)
    moved = flash_counts(5000, 7000, 128, 128, tile.row_tile, tile.column_tile, causal=False).read_elements
    assert np.all(np.diff(moved) <= 0)
    assert np.all(np.diff(tile.fits.astype(int)) >= 0)


def test_waves_and_rows_by_hand():
    assert float(wave_efficiency(133, 132)) == pytest.approx(133 / 264)
    assert float(wave_efficiency(264, 132, 2)) == 1
    assert float(row_efficiency(129, 128)) == pytest.approx(129 / 256)
    # One query of 8 grouped heads fills 1/64 of a tile alone and 8/64 packed; 256 queries fill theirs either way.
    assert packs_grouped_heads(np.array([1, 256]), 8, 64).tolist() == [True, False]
