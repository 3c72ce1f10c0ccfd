"""The attention of one step against its I/O bounds, level by level, and whether its kernel fits the device fused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kvwall.simulator.cache import Cache, CacheGroup
from kvwall.simulator.io.arrays import floats
from kvwall.simulator.io.attention_io import LayerIo, decode_io, decode_rows, prefill_io
from kvwall.simulator.io.bounds import constant_of, score_bound_elements, streaming_bound_bytes
from kvwall.simulator.io.l2_reuse import device_memory_bytes, key_passes
from kvwall.simulator.io.on_chip import OnChip, on_chip
from kvwall.simulator.io.scheme_kernels import KernelNeed, decode_need, largest_tile, prefill_need, room_text
from kvwall.simulator.io.tiles import Tile, TileRoom, blocks_per_unit, tile_register_bytes
from kvwall.simulator.operators.split import Split
from kvwall.simulator.setup import Setup
from kvwall.simulator.traffic import Array, Numeric

Level = Literal["HBM -> chip", "L2 -> SM"]

_COMPULSORY = "compulsory: queries, cache and outputs once"
_STREAMING = "c P d^2 / M - n M, proved for ordinary products (io.bounds.streaming_bound_bytes)"
_SCORES = "t M P d / W - n t M, proved for ordinary products (io.bounds.score_bound_elements)"
_ELEMENT_BYTES = 2.0


@dataclass(frozen=True, slots=True)
class LevelRow:
    """Traffic of one kind of attention layer between two levels, all layers and ranks.

    :ivar operator: the kernel, as the bill of a step calls it
    :ivar layers: alike layers that run it
    :ivar level: from device memory onto the chip, or from the last-level cache into the compute units
    :ivar capacity_bytes: the fast level of the bound: all memory on the chip, or of one unit; ``None`` where it is not
        on record, so that only the compulsory traffic is asserted
    :ivar moved_bytes: what the kernel moves (a model of reuse in the last-level cache for the first level)
    :ivar compulsory_bytes: what no implementation avoids
    :ivar bound_bytes: proved lower bound, never below the compulsory traffic
    :ivar constant: ``c`` of the bound written as ``c P d^2 / M`` elements of 16 bits; 0 where ``M`` is not on record
    :ivar bound: which bound binds
    :ivar ratio: moved over bound
    """

    operator: str
    layers: float
    level: Level
    capacity_bytes: float | None
    moved_bytes: Array
    compulsory_bytes: Array
    bound_bytes: Array
    constant: Array
    bound: NDArray[np.str_]
    ratio: Array


@dataclass(frozen=True, slots=True)
class FusionRow:
    """Whether the attention kernel of one kind of layer runs fused on this device; bytes from device memory.

    :ivar fused: conversions and rebuilds of the schemes run inside the attention kernel
    :ivar why: the bytes that must be on chip against those there are
    :ivar fused_bytes: traffic of the fused kernel
    :ivar separate_bytes: traffic when another kernel writes a 16-bit copy first
    :ivar unfused_bytes: traffic when scores lie in device memory as well
    """

    operator: str
    layers: float
    fused: bool
    why: str
    fused_bytes: Array
    separate_bytes: Array
    unfused_bytes: Array


@dataclass(frozen=True, slots=True)
class IoReport:
    """Both levels and the fusion of every kind of attention layer."""

    levels: tuple[LevelRow, ...]
    fusion: tuple[FusionRow, ...]


def io_report(setup: Setup, cache: Cache) -> IoReport:
    """I/O of the attention of one step of ``setup``, over all layers and ranks.

    Bounds add up over layers and ranks, since each kernel works on data of its own.

    :param cache: the rewritten cache of one rank, as the estimate of the step priced it
    """
    d, chip = setup.deployment, on_chip(setup.system.device)
    ranks = floats(d.tp * d.dp * cache.resident / np.maximum(cache.batch, 1e-300))
    split = Split(d.attention_tp, d.dcp, ranks)
    levels: list[LevelRow] = []
    fusion: list[FusionRow] = []
    for group in (g for g in cache.groups if g.kind != "linear"):
        rows, fused = _group_rows(group, cache, split, chip)
        levels += rows
        fusion.append(fused)
    return IoReport(tuple(levels), tuple(fusion))


@dataclass(frozen=True, slots=True)
class _Kernel:
    """One kind of attention layer: its kernel's name, layers, traffic of one layer and rank, needs and key channels."""

    name: str
    layers: float
    times: Numeric
    layer: LayerIo
    need: KernelNeed
    width: int


def _group_rows(group: CacheGroup, cache: Cache, split: Split, chip: OnChip) -> tuple[list[LevelRow], FusionRow]:
    need = prefill_need(group) if cache.prefill else decode_need(group, chip)
    query_rows = cache.query_tokens if cache.prefill else decode_rows(group, cache, split, need)
    own, plain = (largest_tile(room, chip, np.max(query_rows)) for room in (need.fused, need.plain))
    tile, room = (own, need.fused) if bool(own.fits) else (plain, need.plain)
    layer = (
        prefill_io(group, cache, split, need, tile)
        if cache.prefill
        else decode_io(group, cache, split, need, tile, chip)
    )
    kernel = _Kernel(
        name=f"{'prefill' if cache.prefill else 'decode'} attention ({group.kind})",
        layers=group.layers,
        times=group.layers * split.ranks,
        layer=layer,
        need=need,
        width=group.prefill_dims[0] if cache.prefill else group.head_dim,
    )
    from_memory = _from_memory(layer, tile, room, chip)
    with_copy = from_memory + 2 * layer.dense_bytes
    how = _fusion(kernel, own, plain, chip, (from_memory, with_copy, with_copy + layer.score_bytes))
    spilled = 0.0 if bool(plain.fits) else layer.score_bytes
    moved = from_memory if how.fused else with_copy + spilled
    into_units = layer.counted_bytes if how.fused else layer.copied_bytes + spilled
    rows = [_level(kernel, "HBM -> chip", moved, chip.chip_bytes, 1.0)]
    if chip.sram_per_unit_bytes is not None:
        rows.append(_level(kernel, "L2 -> SM", into_units, chip.unit_bytes, chip.units))
    return rows, how


def _from_memory(layer: LayerIo, tile: Tile, room: TileRoom, chip: OnChip) -> Array:
    """Bytes of the fused kernel from device memory, after reuse in the last-level cache."""
    sram = room.sram_bytes(tile.row_tile, tile.column_tile)
    registers = tile_register_bytes(tile.row_tile, tile.column_tile, room.output_dim)
    per_unit = np.maximum(
        1.0,
        blocks_per_unit(chip.sram_per_unit_bytes or sram, sram, chip.registers_per_unit_bytes or registers, registers),
    )
    passes = key_passes(layer.row_blocks, chip.units * per_unit, layer.cache_head_bytes, chip.l2_bytes or 0.0)
    counted = layer.counted_bytes - layer.extra_bytes
    return device_memory_bytes(layer.compulsory_bytes, counted, passes, layer.row_blocks) + layer.extra_bytes


def _fusion(
    kernel: _Kernel, own: Tile, plain: Tile, chip: OnChip, moved: tuple[Numeric, Numeric, Numeric]
) -> FusionRow:
    """How the kernel runs, told by what it must hold on chip."""
    need = kernel.need
    work = ", ".join(dict.fromkeys(need.work))
    fused = bool(own.fits)
    if fused:
        what = f"{work} inside the kernel" if work else "the cache is read as it lies"
        why = f"{what}; {room_text(need.fused, own, chip)}"
    else:
        resident = float(np.max(need.fused.resident_bytes)) / 1024
        held = f", {resident:.0f} KiB of it factors" if resident else ""
        then = "a kernel of its own writes a 16-bit copy" if bool(plain.fits) else "scores go through device memory"
        why = f"{work or 'attention'} does not fit: smallest {room_text(need.fused, own, chip)}{held}; {then}"
    inside, copied, unfused = (floats(amount * kernel.times) for amount in moved)
    return FusionRow(kernel.name, kernel.layers, fused, why, inside, copied, unfused)


def _level(kernel: _Kernel, level: Level, moved: Numeric, capacity: float | None, units: float) -> LevelRow:
    """One row: the largest of the compulsory traffic and, where the capacity is known, the two proved bounds."""
    streaming, scores = _proved(kernel, capacity, units) if capacity else (floats(0.0), floats(0.0))
    compulsory = floats(kernel.layer.compulsory_bytes)
    bound = np.maximum(np.maximum(streaming, scores), compulsory)
    proved = np.where(streaming >= scores, _STREAMING, _SCORES)
    elements = (capacity or 0.0) / _ELEMENT_BYTES
    return LevelRow(
        operator=kernel.name,
        layers=kernel.layers,
        level=level,
        capacity_bytes=capacity,
        moved_bytes=floats(moved * kernel.times),
        compulsory_bytes=compulsory * kernel.times,
        bound_bytes=bound * kernel.times,
        constant=constant_of(bound, kernel.layer.pairs, kernel.width, elements) / _ELEMENT_BYTES,
        bound=np.where(bound > compulsory, proved, _COMPULSORY),
        ratio=np.divide(moved, bound, out=np.ones(np.shape(bound)), where=bound > 0),
    )


def _proved(kernel: _Kernel, capacity: float, units: float) -> tuple[Array, Array]:
    """The two bounds that depend on the capacity."""
    need, pairs, width = kernel.need, kernel.layer.pairs, kernel.width
    streaming = streaming_bound_bytes(pairs, width * _ELEMENT_BYTES, need.least_row_bytes, capacity, units=units)
    # Keys that are rebuilt on chip are no inputs, so that counting their elements proves nothing.
    e = need.least_element_bytes
    scores = e * score_bound_elements(pairs, width, capacity / e, units) if e else floats(0.0)
    return streaming, scores
