"""Forward and backward passes of FlashAttention-2 together, as its paper reports them: ``3.5`` times the forward FLOP.

The backward pass is three kernels. The first reads O and dO for their row sums and clears the fp32 sums of dQ, 8 bytes
an element. The main one makes five products of a tile (S, dP, dV, dK, dQ) with 16-bit operands that its eight warps
load from shared memory, and adds dQ in fp32: it reads Q, K, V and dO, writes dK and dV, and reads and writes the sums,
20 bytes an element. The last one rounds the sums, 6 bytes. The exponential of a score is computed once more.

Dao 2023, arXiv 2307.08691, section 3.1.2; tiles and warps: flash_bwd_launch_template.h of the FlashAttention
repository.
"""

from __future__ import annotations

from kvwall.hardware.calibration import CALIBRATIONS
from kvwall.simulator.io.exact_counts import flash_counts
from kvwall.validate.quantities.attention_kernels import (
    EXTRA_BLOCKS,
    LARGE_SRAM_BYTES,
    OLD_INSTRUCTION,
    SHARED_BYTES,
    KernelRates,
    KernelShape,
    forward_s,
    longer,
    rates_of,
    shape_of,
    softmax_s,
)
from kvwall.validate.reproducing.point import Point, quantity

#: Largest head dimension; query rows and keys of the tile; warps along the rows of S and dP, of dK and dV, of dQ.
_TILES = ((64, 128, 128, (4, 4, 4)), (128, 64, 128, (2, 4, 2)))
#: The same on units with less shared memory.
_SMALL_TILES = ((32, 128, 128, (4, 4, 4)), (64, 64, 128, (2, 4, 4)), (128, 64, 64, (4, 2, 2)))
_WARPS = 8
#: Bytes of an element of Q, K, V or O that the main kernel moves, and the two beside it.
_MAIN_BYTES, _BESIDE_BYTES = 20.0, 14.0


def _tile(head_dim: float, sram_bytes: float) -> tuple[int, int, tuple[int, int, int]]:
    for largest, rows, keys, warps in _TILES if sram_bytes >= LARGE_SRAM_BYTES else _SMALL_TILES:
        if head_dim <= largest:
            return rows, keys, warps
    raise ValueError(f"no tile of the backward pass is known for heads of {head_dim:g}; at most {_TILES[-1][0]}")


def shared_bytes(head_dim: float, sram_bytes: float) -> float:
    """Bytes of shared memory that the five products of one score load, and P and dS stored for the last three."""
    rows, keys, (scores, gradients, queries) = _tile(head_dim, sram_bytes)

    def product(m: float, n: float, k: float, along: int) -> float:
        return 2.0 * k * (m * _WARPS / along + n * along)

    loaded = 2.0 * product(rows, keys, head_dim, scores) + 2.0 * product(keys, head_dim, rows, gradients)
    loaded += product(rows, head_dim, keys, queries)
    return (loaded + 2.0 * 2.0 * rows * keys) / (rows * keys)


def backward_s(shape: KernelShape, rates: KernelRates) -> float:
    """Seconds of the three kernels; blocks of keys are spread over the units."""
    machine = rates.machine
    rows, keys, _ = _tile(shape.head_dim, machine.sram_per_unit_bytes)
    matrix = 10.0 * shape.head_dim / rates.matrix_flops_per_s / (OLD_INSTRUCTION if rates.hopper else 1.0)
    shared = shared_bytes(shape.head_dim, machine.sram_per_unit_bytes) / (SHARED_BYTES * machine.clock_hz)
    each = longer(matrix, shared) + softmax_s(shape, machine, keys)
    counts = flash_counts(shape.tokens, shape.tokens, 1.0, 0.0, float(keys), float(rows), causal=shape.causal)
    blocks = float(counts.row_blocks)
    walked = (float(counts.block_visits) + blocks * EXTRA_BLOCKS) * rows
    waves = max(1.0, machine.units / (blocks * shape.heads * shape.batch))
    busy = walked * keys * shape.heads * shape.batch * each / machine.units * waves
    elements = shape.tokens * shape.head_dim * shape.heads * shape.batch
    kinds = CALIBRATIONS.load("uncalibrated").kinds
    floor = kinds["attention"].floor.mid_s + 2.0 * kinds["elementwise"].floor.mid_s
    beside = _BESIDE_BYTES * elements / rates.copied_bytes_per_s
    return longer(busy, _MAIN_BYTES * elements / rates.bytes_per_s) + beside + floor


def _both(point: Point, causal: bool) -> float:
    shape = shape_of(point, causal)
    rates = rates_of(point.setup.system.device, shape.dtype)
    return 3.5 * shape.flops / (forward_s(shape, rates, "flash2") + backward_s(shape, rates))


def _back(point: Point, causal: bool) -> float:
    shape = shape_of(point, causal)
    return 2.5 * shape.flops / backward_s(shape, rates_of(point.setup.system.device, shape.dtype))


@quantity
def flash2_full_back_flops_per_s(point: Point) -> float:
    """The backward pass alone, ``2.5`` times the forward FLOP, without a mask."""
    return _back(point, causal=False)


@quantity
def flash2_causal_back_flops_per_s(point: Point) -> float:
    """The backward pass alone under a causal mask."""
    return _back(point, causal=True)


@quantity
def flash2_full_both_flops_per_s(point: Point) -> float:
    """FlashAttention-2, forward and backward, without a mask."""
    return _both(point, causal=False)


@quantity
def flash2_causal_both_flops_per_s(point: Point) -> float:
    """FlashAttention-2, forward and backward, under a causal mask."""
    return _both(point, causal=True)
