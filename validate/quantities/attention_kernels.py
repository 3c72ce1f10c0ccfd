"""Rates of forward attention kernels as their papers count them, from what a tile asks of the units of a device.

A block of ``B_r x B_c`` scores takes three things of a compute unit: ``4 d`` FLOP a score of the matrix unit, one
exponential of the special-function unit, and ``4 + d / B_c`` instructions of the vector lanes (scale, maximum, sum,
conversion, and the rescaling of the output). How they add up is what tells the generations apart:

* ``flash1``: one after another, and Q and O pass through memory once for every block of keys;
* ``flash2``: products and softmax of a warp follow each other; with the instruction of Ampere, which feeds two thirds
  of a Hopper matrix unit from registers that each warp fills from shared memory for its own rows;
* ``flash3``: the softmax of one group of warps runs under the products of another, and both beside shared memory;
* ``standard``: whole score matrices pass through memory between three kernels.

The model names the shape (heads and ``head_dim`` of its first layers), batch and context the rest. Rates count ``4 N^2
d H B`` FLOP, half of it under a causal mask, as the papers do; those of forward and backward passes together count 3.5
times as many and are predicted by the forward rate. Dao 2023, arXiv 2307.08691, and Shah et al. 2024, arXiv 2407.08608.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from kvwall.hardware.calibration import CALIBRATIONS
from kvwall.hardware.device import Device
from kvwall.hardware.dtype import Dtype
from kvwall.simulator.io.exact_counts import flash1_counts, flash_counts, standard_attention_elements
from kvwall.simulator.io.tiles import Kernel, published_tile
from kvwall.simulator.kernel_time.common import smooth_max
from kvwall.simulator.kernel_time.machine import Machine, machine_of
from kvwall.validate.reproducing.point import Point, quantity
from kvwall.workloads.model_spec import HeadAttention

#: Exponentials of a unit in a cycle: CUDA programming guide, throughput of ex2, compute capability 8.0 to 9.0.
_EXPONENTIALS = 16.0
#: Instructions of the vector lanes for one score, without the rescaling of the output.
_INSTRUCTIONS = 4.0
#: Part of a Hopper matrix unit that the instruction of Ampere feeds: arXiv 2407.08608, section 2.
OLD_INSTRUCTION = 2.0 / 3.0
#: Blocks of keys that start and end of a row block cost (default of the product's own kernel family).
EXTRA_BLOCKS = 1.0

#: Warps that split the rows of a block in FlashAttention-2, and bytes a cycle of a unit's shared memory (CUDA guide).
_WARPS, SHARED_BYTES = 4.0, 128.0
#: Shared memory of a unit from which the released launchers take their large tiles.
LARGE_SRAM_BYTES = 144 * 1024.0
#: Rows of one warp-group product on Hopper.
_GROUP_ROWS = 64.0

Generation = Literal["flash1", "flash2", "flash3", "standard"]


@dataclass(frozen=True)
class KernelShape:
    """One call of a kernel."""

    heads: float
    head_dim: float
    batch: float
    tokens: float
    causal: bool
    dtype: Dtype

    @property
    def flops(self) -> float:
        """FLOP as papers count them."""
        return 4.0 * self.tokens**2 * self.head_dim * self.heads * self.batch * (0.5 if self.causal else 1.0)

    @property
    def least_bytes(self) -> float:
        """Queries, keys and values in their dtype, and outputs in 16 bits, once."""
        row = 3.0 * (1.0 if self.dtype == "fp8" else 2.0) + 2.0
        return row * self.tokens * self.head_dim * self.heads * self.batch


@dataclass(frozen=True)
class KernelRates:
    """What kernels reach of one device.

    :ivar matrix_flops_per_s: of one unit: the largest product found on the device, or what the best ones reach
    :ivar bytes_per_s: of the memory, in a fused kernel
    :ivar copied_bytes_per_s: of the memory, in a kernel that only passes scores through
    """

    machine: Machine
    hopper: bool
    matrix_flops_per_s: float
    bytes_per_s: float
    copied_bytes_per_s: float


def rates_of(device: Device, dtype: Dtype) -> KernelRates:
    machine, kinds = machine_of(device), CALIBRATIONS.load("uncalibrated").kinds
    found = device.measured
    largest = None if found is None else found.gemm_fp8_flops_per_s if dtype == "fp8" else found.gemm_bf16_flops_per_s
    whole = largest or machine.matrix_flops_per_s[dtype] * kinds["gemm"].matrix.high
    return KernelRates(
        machine,
        device.architecture.split()[0] in {"Hopper", "Blackwell"},
        whole / machine.units,
        machine.bandwidth_bytes_per_s * kinds["attention"].memory.mid,
        machine.bandwidth_bytes_per_s * kinds["elementwise"].memory.mid,
    )


def shape_of(point: Point, causal: bool) -> KernelShape:
    """The call that the words of a point mean."""
    group = next(g for g in point.setup.model.attention if isinstance(g, HeadAttention))
    dtype: Dtype = "fp8" if point.words.get("kv_dtype") == "fp8" else "bf16"
    return KernelShape(float(group.q_heads), float(group.head_dim), point.batch, point.context, causal, dtype)


def forward_s(shape: KernelShape, rates: KernelRates, generation: Generation) -> float:
    """Seconds of a forward call."""
    moving = _standard(shape, rates) if generation == "standard" else _flash(shape, rates, generation)
    return moving + CALIBRATIONS.load("uncalibrated").kinds["attention"].floor.mid_s


def _rate(point: Point, generation: Generation, causal: bool) -> float:
    shape = shape_of(point, causal)
    return shape.flops / forward_s(shape, rates_of(point.setup.system.device, shape.dtype), generation)


def softmax_s(shape: KernelShape, machine: Machine, keys: float) -> float:
    """Seconds of one score on one unit: its exponential and what the vector lanes do with it."""
    lanes = machine.vector_flops_per_s / 2.0 / machine.units
    instructions = _INSTRUCTIONS + shape.head_dim / keys
    return 1.0 / (_EXPONENTIALS * machine.clock_hz) + instructions / lanes


def _kernel(shape: KernelShape, machine: Machine, generation: Generation) -> Kernel:
    if generation != "flash3":
        small = machine.sram_per_unit_bytes < LARGE_SRAM_BYTES
        return "fa2" if not small else "fa2 small sram causal" if shape.causal else "fa2 small sram"
    if shape.dtype == "fp8":
        return "fa3 fp8"
    return "fa3 causal" if shape.causal else "fa3"


def _flash(shape: KernelShape, rates: KernelRates, generation: Generation) -> float:
    """Seconds of a fused kernel: row blocks over the units, each with a block of keys more than it needs."""
    machine = rates.machine
    rows, keys = (float(side) for side in published_tile(_kernel(shape, machine, generation), shape.head_dim))
    rows = min(rows, shape.tokens)
    matrix = 4.0 * shape.head_dim / rates.matrix_flops_per_s
    softmax = softmax_s(shape, machine, keys)
    if generation == "flash3":
        each = longer(longer(matrix, softmax), _shared_s(shape, machine, rows))
    else:
        matrix = matrix / (OLD_INSTRUCTION if rates.hopper else 1.0)
        each = longer(matrix, _operands_s(shape, machine, generation, rates.hopper)) + softmax
    counts = flash_counts(shape.tokens, shape.tokens, 1.0, 0.0, rows, keys, causal=shape.causal)
    blocks = float(counts.row_blocks)
    walked = (float(counts.block_visits) + blocks * EXTRA_BLOCKS) * keys
    waves = max(1.0, machine.units / (blocks * shape.heads * shape.batch))
    busy = walked * rows * shape.heads * shape.batch * each / machine.units * waves
    if generation == "flash1":
        return busy + _flash1_bytes(shape, machine) / rates.bytes_per_s
    return longer(busy, shape.least_bytes / rates.bytes_per_s)


def _operands_s(shape: KernelShape, machine: Machine, generation: Generation, hopper: bool) -> float:
    """Seconds of one score on one unit in which a warp loads keys and values from shared memory for its own rows."""
    wide = hopper and shape.head_dim > 192
    rows, _ = published_tile("fa2 small sram" if wide else _kernel(shape, machine, generation), shape.head_dim)
    return 4.0 * shape.head_dim / (float(rows) / _WARPS) / (SHARED_BYTES * machine.clock_hz)


def _shared_s(shape: KernelShape, machine: Machine, rows: float) -> float:
    """Seconds of one score on one unit in which shared memory is filled with keys and values and read as operands.

    Each group of warps reads both for its own 64 rows. The fp8 instruction wants values transposed: the kernel reads
    and writes them once more in shared memory (arXiv 2407.08608, section 3.3).
    """
    element_bytes = 1.0 if shape.dtype == "fp8" else 2.0
    transposed = 2.0 if shape.dtype == "fp8" else 0.0
    passes = 2.0 + transposed + 2.0 * max(rows / _GROUP_ROWS, 1.0)
    return passes * element_bytes * shape.head_dim / rows / (SHARED_BYTES * machine.clock_hz)


def longer(first: float, second: float) -> float:
    """Two things at once, at the product's own sharpness of overlap."""
    return float(smooth_max(CALIBRATIONS.load("uncalibrated").sharpness, np.float64(first), np.float64(second)))


def _flash1_bytes(shape: KernelShape, machine: Machine) -> float:
    """Q and O of every row pass through memory for each block of keys that the mask leaves."""
    capacity = machine.sram_per_unit_bytes / 2.0
    elements = float(flash1_counts(shape.tokens, shape.head_dim, capacity).total_elements)
    return 2.0 * elements * shape.heads * shape.batch * (0.5 if shape.causal else 1.0)


def _standard(shape: KernelShape, rates: KernelRates) -> float:
    """Three kernels over the whole square, as the flash-attention benchmark calls PyTorch.

    Queries, keys and values are slices of one packed tensor and are copied into rows of a head each. A mask is one more
    pass over the scores, and is built at every call: filled, cut to a triangle and rounded, 18 bytes an element.
    """
    heads, square = shape.heads * shape.batch, shape.tokens**2
    elements = float(standard_attention_elements(shape.tokens, shape.tokens, shape.head_dim, shape.head_dim))
    elements += 3.0 * 2.0 * shape.tokens * shape.head_dim
    mask_bytes = 0.0
    if shape.causal:
        elements += 2.0 * square
        mask_bytes = 18.0 * square
    products = square * heads * 4.0 * shape.head_dim / rates.matrix_flops_per_s / rates.machine.units
    return products + (2.0 * elements * heads + mask_bytes) / rates.copied_bytes_per_s


@quantity
def flash1_full_flops_per_s(point: Point) -> float:
    """FlashAttention-1 without a mask."""
    return _rate(point, "flash1", causal=False)


@quantity
def flash1_causal_flops_per_s(point: Point) -> float:
    """FlashAttention-1 under a causal mask."""
    return _rate(point, "flash1", causal=True)


@quantity
def flash2_full_flops_per_s(point: Point) -> float:
    """FlashAttention-2 without a mask."""
    return _rate(point, "flash2", causal=False)


@quantity
def flash2_causal_flops_per_s(point: Point) -> float:
    """FlashAttention-2 under a causal mask."""
    return _rate(point, "flash2", causal=True)


@quantity
def flash3_full_flops_per_s(point: Point) -> float:
    """FlashAttention-3 without a mask."""
    return _rate(point, "flash3", causal=False)


@quantity
def flash3_causal_flops_per_s(point: Point) -> float:
    """FlashAttention-3 under a causal mask."""
    return _rate(point, "flash3", causal=True)


@quantity
def standard_full_flops_per_s(point: Point) -> float:
    """Attention in three kernels, without a mask."""
    return _rate(point, "standard", causal=False)


@quantity
def standard_causal_flops_per_s(point: Point) -> float:
    """Attention in three kernels under a causal mask, of which half is counted and all is computed."""
    return _rate(point, "standard", causal=True)
