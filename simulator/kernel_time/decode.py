"""Time of decode attention: ``launch + smooth max(waves of thread blocks, tile overhead) + extra kernels``.

A wave takes as long as the longer of one thread block's walk over its KV blocks (:func:`chain_s`) and the memory
traffic of all thread blocks that run together. What a library starts is in :mod:`decode_plans`.
"""

from __future__ import annotations

import numpy as np

from kvwall.simulator.kernel_time.common import (
    HALF_BYTES,
    MICRO,
    PARTIAL_BYTES_PER_S,
    WAVE_SHARPNESS,
    Parameters,
    as_array,
    microseconds,
    miss_fraction,
    ratio,
    smooth_max,
    waves_time,
)
from kvwall.simulator.kernel_time.decode_plans import Plan, attended_tokens
from kvwall.simulator.kernel_time.family import Parameter
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.traffic import Array, Numeric

#: How the time of the tiles of later waves and that of the memory stream add up.
_OVERLAP_SHARPNESS = 1.5

LAUNCH = microseconds("launch_us", "launch, prologue and first KV block at head_dim 128", 3, 30, 10)
WAVE = microseconds("wave_us", "prologue and epilogue of one further wave of tiles", 0.1, 20, 3)
STEP = microseconds("step_us", "one thread block, 128 tokens at head_dim 128", 0.05, 20, 2)
FILL = microseconds("fill_us", "first bytes and uneven ends when the cache comes from memory", 0.05, 30, 4)
HBM = ratio("hbm_fraction", "achieved part of the data sheet's memory bandwidth", 0.4, 0.99, 0.9)
L2 = ratio("l2_share", "part of the last-level cache that a repeated buffer can use", 0.2, 1.6, 0.75)
COMBINE = microseconds("combine_us", "the kernel that adds up splits", 0.02, 20, 2)

#: Achieved part of the memory bandwidth where a fit cannot tell it from the time of the steps.
HBM_FIXED = 0.95


def kv_bytes(points: Points, element_bytes: float) -> Array:
    """Bytes of keys and values that all queries attend to."""
    channels = as_array(points.head_dim) + points.value_dim
    return as_array(as_array(points.batch) * points.kv_heads * attended_tokens(points) * channels * element_bytes)


def io_bytes(points: Points) -> Array:
    """Bytes of queries read and outputs written."""
    channels = as_array(points.head_dim) + points.value_dim
    return as_array(as_array(points.batch) * points.q_heads * channels * HALF_BYTES)


def matrix_s(points: Points, machine: Machine) -> Array:
    """Seconds of the two products at the peak of the matrix unit."""
    channels = as_array(points.head_dim) + points.value_dim
    flops = 2 * as_array(points.batch) * points.q_heads * attended_tokens(points) * channels
    return as_array(flops / machine.matrix_flops_per_s["bf16"])


def bound_s(points: Points, machine: Machine, element_bytes: float) -> Array:
    """The data sheet's bound: compulsory bytes at peak bandwidth or FLOP at peak rate."""
    moved = kv_bytes(points, element_bytes) + io_bytes(points)
    return np.maximum(moved / machine.bandwidth_bytes_per_s, matrix_s(points, machine))


def body_s(
    plan: Plan, machine: Machine, chain_s: Array, moved_bytes: Array, hbm_fraction: Numeric, miss: Array,
    sharpness: float = WAVE_SHARPNESS,
) -> Array:  # fmt: skip
    """Seconds of all waves of ``plan``.

    :param chain_s: one thread block walking its KV blocks alone on a compute unit
    :param moved_bytes: bytes of the whole launch
    :param hbm_fraction: achieved part of the memory bandwidth
    :param miss: part of the bytes that come from memory
    """
    per_block_s = moved_bytes / machine.bandwidth_bytes_per_s / plan.thread_blocks / hbm_fraction * miss

    def wave_s(running: Array) -> Array:
        sharing = np.minimum(plan.residents, np.ceil(running / machine.units))
        return smooth_max(sharpness, chain_s * sharing, running * per_block_s)

    return waves_time(plan.thread_blocks, machine.units * plan.residents, wave_s)


def first_step(points: Points, plan: Plan, weight: float) -> Array:
    """The first KV block as a part of a step: most of it is in the launch already."""
    return as_array(weight * np.minimum(1.0, attended_tokens(points) / plan.step_tokens))


def ramped_waves(plan: Plan, machine: Machine) -> Array:
    """Waves after the first, and a third of the first one as far as it fills the device."""
    filled = plan.thread_blocks / machine.units
    return as_array(np.ceil(filled) - 1 + np.minimum(1.0, filled) / 3)


def partial_us(points: Points, plan: Plan, machine: Machine) -> Array:
    """Microseconds to move the fp32 partial outputs of all splits through the last-level cache."""
    moved = 4 * plan.splits * points.batch * points.q_heads * as_array(points.value_dim)
    return as_array(moved / (machine.units * PARTIAL_BYTES_PER_S) / MICRO)


def total_s(
    points: Points, machine: Machine, element_bytes: float, launch_us: Numeric, body: Numeric, tiles_us: Numeric,
    extra_us: Numeric,
) -> Array:  # fmt: skip
    """Launch, body against tile overhead, and extra kernels; never below what a cold cache must read."""
    seconds = launch_us * MICRO + smooth_max(_OVERLAP_SHARPNESS, body, tiles_us * MICRO) + extra_us * MICRO
    cold_bound = np.where(as_array(points.warm) > 0, 0.0, bound_s(points, machine, element_bytes))
    return np.maximum(seconds, cold_bound)


def cached_part(points: Points, parameters: Parameters, machine: Machine, element_bytes: float) -> tuple[Array, Array]:
    """Bytes of the launch, and the part of them that comes from memory."""
    moved = kv_bytes(points, element_bytes) + io_bytes(points)
    return moved, miss_fraction(moved, parameters["l2_share"], machine, points.warm)


SPLIT_KV: tuple[Parameter, ...] = (LAUNCH, WAVE, STEP, FILL, L2, COMBINE)
