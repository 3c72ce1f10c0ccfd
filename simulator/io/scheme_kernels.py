"""What a fused attention kernel must hold on chip for a cache that a scheme rewrote, and whether it fits a device.

Nothing here knows a scheme by name. The rewritten cache says it all: codes of fewer bits are converted on chip unless
the matrix unit takes them, and keys (or keys and values) whose channels are not those of the heads are rebuilt on chip
from a latent with a factor that must stay resident, or else be read again for every tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kvwall.simulator.cache import CONTENT_ROLES, Bits, CacheGroup, Tensor
from kvwall.simulator.io.on_chip import OnChip
from kvwall.simulator.io.tiles import (
    USABLE_REGISTERS,
    Tile,
    TileRoom,
    choose_tile,
    tile_register_bytes,
)
from kvwall.simulator.traffic import Numeric

_ELEMENT_BYTES = 2.0


@dataclass(frozen=True, slots=True)
class KernelNeed:
    """What one thread block keeps on chip: with the scheme's work inside the kernel, and without it.

    :ivar heads: blocks of query heads that walk the cache apart: key-value heads, or 1 for a latent cache
    :ivar fused: room of a kernel that converts and rebuilds by itself
    :ivar plain: room of a kernel on 16-bit keys and values that another kernel wrote
    :ivar work: what the scheme asks the kernel to do; empty for a cache that is read as it lies
    :ivar least_row_bytes: the fewest bytes of the cache that one query-key pair needs at hand
    :ivar least_element_bytes: the smallest element among them, 0 where keys are rebuilt from a latent
    """

    heads: int
    fused: TileRoom
    plain: TileRoom
    work: tuple[str, ...]
    least_row_bytes: float
    least_element_bytes: float


def content(group: CacheGroup) -> tuple[Tensor, ...]:
    """The tensors that attention itself reads."""
    return tuple(tensor for tensor in group.tensors if tensor.role in CONTENT_ROLES)


def block_heads(group: CacheGroup) -> int:
    """Heads of the cache that thread blocks walk apart, on an unsplit model."""
    return max([1, group.kv_heads, *(tensor.heads for tensor in content(group))])


def rebuilt_channels(tensor: Tensor, group: CacheGroup) -> int:
    """Channels of one head that are rebuilt from ``tensor`` on chip; 0 where products take it as it is.

    A latent of an MLA layer enters the products itself (absorbed form) and a value latent folds into the output
    projection, so neither is rebuilt.
    """
    if group.kind == "mla" or tensor.role not in {"key", "latent"}:
        return 0
    if tensor.role == "latent":
        return group.head_dim + group.value_dim
    return group.head_dim if tensor.channels != group.head_dim else 0


def converted(bits: Bits, chip: OnChip) -> bool:
    """Whether codes of this format become 16-bit numbers before they enter a product on this device."""
    return bits.payload < 16 and not (bits.native == "fp8" and chip.native_fp8)


def decode_need(group: CacheGroup, chip: OnChip) -> KernelNeed:
    """Room of a decode kernel over the cache of ``group``.

    Per token of one head: staged ``sum c b / 8`` bytes as stored (widest segment), converted ``2 c`` where the format
    is no operand, rebuilt ``2 d``; resident ``2 r d`` bytes of the factor of one head of rank ``r``. Palu's kernel
    (arXiv 2407.21118, section 3.3) and FlashMLA's 8-bit one (repository documentation) are laid out so.
    """
    staged = copied = resident = rebuilt = least = 0.0
    work: list[str] = []
    elements: list[float] = []
    for tensor in content(group):
        formats = [segment.bits for segment in tensor.segments]
        staged += tensor.channels * max(bits.effective for bits in formats) / 8
        smallest = min(bits.payload for bits in formats) / 8
        elements.append(smallest)
        if any(converted(bits, chip) for bits in formats):
            copied += tensor.channels * _ELEMENT_BYTES
            work.append(f"convert {tensor.role}s")
        channels = rebuilt_channels(tensor, group)
        if channels:
            resident += tensor.channels * channels * _ELEMENT_BYTES
            rebuilt += channels * _ELEMENT_BYTES
            work.append("rebuild keys" if tensor.role == "key" else "rebuild keys and values")
            least += min(tensor.channels * smallest, channels * _ELEMENT_BYTES)
        else:
            least += tensor.channels * smallest
    values = [tensor.channels for tensor in content(group) if tensor.role == "value"]
    output = values[0] if values else float(group.value_dim)
    query = group.head_dim * _ELEMENT_BYTES
    plain_row = query if group.kind == "mla" else (group.head_dim + output) * _ELEMENT_BYTES
    return KernelNeed(
        heads=block_heads(group),
        fused=TileRoom(query, staged, copied + rebuilt, resident, output),
        plain=TileRoom(query, plain_row, 0.0, 0.0, output),
        work=tuple(work),
        least_row_bytes=least,
        least_element_bytes=0.0 if rebuilt else min(elements),
    )


def prefill_need(group: CacheGroup) -> KernelNeed:
    """Room of a prefill kernel, which takes the new keys and values as the projections wrote them, in 16 bits.

    A latent cache is expanded to heads first (DeepSeek-AI 2024, arXiv 2405.04434, section 2.1).
    """
    key, value = group.prefill_dims
    room = TileRoom(key * _ELEMENT_BYTES, (key + value) * _ELEMENT_BYTES, 0.0, 0.0, float(value))
    heads = group.q_heads if group.kind == "mla" else group.kv_heads
    return KernelNeed(heads, room, room, (), (key + value) * _ELEMENT_BYTES, _ELEMENT_BYTES)


def largest_tile(room: TileRoom, chip: OnChip, rows: Numeric) -> Tile:
    """The tile that a kernel with ``room`` runs with; where the data sheet is silent, memory does not limit it."""
    sram, registers = (np.inf if v is None else v for v in (chip.sram_per_block_bytes, chip.registers_per_unit_bytes))
    return choose_tile(room, sram, registers, rows)


def room_text(room: TileRoom, tile: Tile, chip: OnChip) -> str:
    """What the tile takes of a thread block's memory and of the registers, in one phrase."""
    rows, columns = (float(np.ravel(side)[0]) for side in (tile.row_tile, tile.column_tile))
    sram = float(np.ravel(room.sram_bytes(rows, columns))[0]) / 1024
    registers = float(np.ravel(tile_register_bytes(rows, columns, room.output_dim))[0]) / 1024
    if chip.sram_per_block_bytes is None or chip.registers_per_unit_bytes is None:
        return f"{rows:g} x {columns:g} tile: {sram:.0f} KiB; the data sheet states no memory per unit"
    limit = USABLE_REGISTERS * chip.registers_per_unit_bytes / 1024
    return (
        f"{rows:g} x {columns:g} tile: {sram:.0f} KiB of {chip.sram_per_block_bytes / 1024:.0f} KiB shared memory, "
        f"{registers:.0f} KiB of {limit:.0f} KiB accumulators"
    )
