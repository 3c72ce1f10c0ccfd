"""Attention on a square array of multiply-accumulate units beside a row of vector units, as FuseMax and FLAT map it.

Cycles of one score: products ``2 d`` on the array; the stable softmax four operations (maximum, exponential, sum,
division) on the row; on the array an exponential is a polynomial of six multiply-accumulates and divisions are put off
to the output. Nayak et al. 2024, FuseMax, arXiv 2406.10491; Kao et al. 2023, FLAT, arXiv 2107.06419.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kvwall.hardware.device import Device
from kvwall.simulator.io.cascades import Cascade, cascade_elements
from kvwall.validate.reproducing.point import Point, quantity

#: Width of the model and channels of a head of the paper's four models: BERT, TrXL, T5 and XLM (base sizes).
_MODELS = ((768.0, 64.0), (1024.0, 64.0), (768.0, 64.0), (2048.0, 128.0))
#: The paper's lengths, 1K to 1M.
_LENGTHS = tuple(1024.0 * 4**i for i in range(6))
_SOFTMAX_OPS, _EXPONENTIAL_MACS, _ELEMENT_BYTES = 4.0, 6.0, 2.0
#: Multiply-accumulates of a layer's projections and its feed-forward network of four times the width, over D^2.
_LINEAR_SQUARES = 12.0
#: Keys of a tile on the array.
_KEY_TILE = 256.0

ScoreTime = Callable[[Device, float], float]


def _array_s(device: Device, macs: float) -> float:
    return 2.0 * macs / device.matrix_flops_per_s("fp16")


def _row_s(device: Device, operations: float) -> float:
    return 2.0 * operations / device.vector_flops_per_s


def _bytes_s(device: Device, elements: float) -> float:
    return elements * _ELEMENT_BYTES / device.hbm.bandwidth_bytes_per_s


def _fused_single_pass(device: Device, head_dim: float) -> float:
    """FuseMax: products and exponentials on the array, the running maximum and sum beside them on the row."""
    return max(_array_s(device, 2.0 * head_dim + _EXPONENTIAL_MACS), _row_s(device, _SOFTMAX_OPS / 4.0) / 2.0)


def _flat(device: Device, head_dim: float) -> float:
    """FLAT: the softmax on the row, products on the array beside it."""
    return max(_array_s(device, 2.0 * head_dim), _row_s(device, _SOFTMAX_OPS))


def _unfused(device: Device, head_dim: float) -> float:
    """Three kernels in turn; scores pass through memory between them."""
    product = max(_array_s(device, head_dim), _bytes_s(device, 1.0))
    return 2.0 * product + max(_row_s(device, _SOFTMAX_OPS), _bytes_s(device, 2.0))


def _mean_speedup(device: Device, slow: ScoreTime) -> float:
    return float(np.mean([slow(device, d) / _fused_single_pass(device, d) for _, d in _MODELS]))


@quantity
def single_pass_speedup_over_flat(point: Point) -> float:
    """Attention of four models: FLAT over FuseMax, mean."""
    return _mean_speedup(point.setup.system.device, _flat)


@quantity
def single_pass_speedup_over_unfused(point: Point) -> float:
    """Attention of four models: unfused over FuseMax, mean."""
    return _mean_speedup(point.setup.system.device, _unfused)


@quantity
def layer_speedup_over_flat(point: Point) -> float:
    """Whole layers of four models at six lengths: FLAT over FuseMax, mean; products with weights fill the array."""
    device = point.setup.system.device

    def layer(score: ScoreTime, width: float, head_dim: float, tokens: float) -> float:
        return _array_s(device, _LINEAR_SQUARES * width**2) + tokens * width / head_dim * score(device, head_dim)

    return float(
        np.mean(
            [
                layer(_flat, width, dim, n) / layer(_fused_single_pass, width, dim, n)
                for width, dim in _MODELS
                for n in _LENGTHS
            ]
        )
    )


@quantity
def array_utilisation_flat(point: Point) -> float:
    """Part of the cycles in which the array multiplies under FLAT, heads of 64 channels."""
    device = point.setup.system.device
    return _array_s(device, 128.0) / _flat(device, 64.0)


@quantity
def array_utilisation_single_pass(point: Point) -> float:
    """The same under FuseMax, exponentials included."""
    device = point.setup.system.device
    return _array_s(device, 128.0 + _EXPONENTIAL_MACS) / _fused_single_pass(device, 64.0)


@quantity
def flat_traffic_over_single_pass(point: Point) -> float:
    """Off-chip elements of one head of 64 channels at the point's context: FLAT over FuseMax."""
    capacity = (point.setup.system.device.units.sram_per_unit_bytes or 0.0) / _ELEMENT_BYTES

    def moved(cascade: Cascade) -> float:
        return float(cascade_elements(cascade, point.context, point.context, 64.0, 64.0, _KEY_TILE, capacity))

    return moved("flat") / moved("fusemax")
