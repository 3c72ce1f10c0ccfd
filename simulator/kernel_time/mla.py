"""Time of decode attention over a latent cache (multi-head latent attention), absorbed form: FlashMLA's plan.

All heads of a rank read one latent of 576 channels per token; 64 heads fill the rows of one tile, so that 1 to 64 heads
cost nearly the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from kvwall.simulator.kernel_time.common import (
    HALF_BYTES,
    MICRO,
    Parameters,
    as_array,
    ceil_div,
    microseconds,
    miss_fraction,
    ratio,
    smooth_max,
    waves_time,
)
from kvwall.simulator.kernel_time.decode import HBM_FIXED
from kvwall.simulator.kernel_time.decode_plans import attended_tokens
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.traffic import Array

_LATENT_CHANNELS = 576
_VALUE_CHANNELS = 512
_HEADS_PER_TILE = 64
_BLOCK_TOKENS = 64

#: What a sequence costs the scheduler on top of its blocks, counted in blocks.
_SEQUENCE_BLOCKS = 5

#: Each doubling of the heads beyond eight costs so much more.
_MORE_HEADS_US = 0.2


@dataclass(frozen=True)
class LatentPlan:
    """A launch: thread blocks, KV blocks that one walks, and splits of a sequence."""

    thread_blocks: Array
    steps: Array
    splits: Array


def latent_plan(points: Points, machine: Machine) -> LatentPlan:
    """FlashMLA's scheduler: KV blocks are dealt out evenly, and every sequence counts five blocks extra.

    Source: ``get_mla_metadata`` of deepseek-ai/FlashMLA.
    """
    batch, tiles = as_array(points.batch), ceil_div(points.q_heads, _HEADS_PER_TILE)
    parts = np.maximum(1.0, np.floor(machine.units / tiles))
    blocks = ceil_div(attended_tokens(points), _BLOCK_TOKENS)
    dealt = np.ceil(batch * (blocks + _SEQUENCE_BLOCKS) / parts)
    steps = np.where(batch <= parts, np.minimum(blocks, dealt), dealt)
    splits = np.maximum(1.0, ceil_div(blocks, steps))
    return LatentPlan(np.minimum(parts, ceil_div(batch * blocks, steps)) * tiles, steps, splits)


def _moved_bytes(points: Points, element_bytes: float) -> Array:
    latent = as_array(points.batch) * attended_tokens(points) * _LATENT_CHANNELS * element_bytes
    return as_array(latent + _io_bytes(points))


def _io_bytes(points: Points) -> Array:
    rows = as_array(points.batch) * points.q_heads
    return as_array(rows * (_LATENT_CHANNELS + _VALUE_CHANNELS) * HALF_BYTES)


def bound_s(points: Points, machine: Machine, element_bytes: float) -> Array:
    """The data sheet's bound of latent attention."""
    products = _LATENT_CHANNELS + _VALUE_CHANNELS
    flops = 2 * as_array(points.batch) * points.q_heads * attended_tokens(points) * products
    memory_s = _moved_bytes(points, element_bytes) / machine.bandwidth_bytes_per_s
    return np.maximum(memory_s, flops / machine.matrix_flops_per_s["bf16"])


def latent_decode_s(points: Points, p: Parameters, machine: Machine, element_bytes: float) -> Array:
    """Seconds of decode over a latent cache of ``element_bytes`` a channel."""
    plan, length = latent_plan(points, machine), attended_tokens(points)
    moved = _moved_bytes(points, element_bytes)
    miss = miss_fraction(moved, p["l2_share"], machine, points.warm)
    chain_s = (plan.steps - 1) * p["step_us"] * MICRO
    per_block_s = moved / machine.bandwidth_bytes_per_s / plan.thread_blocks / HBM_FIXED * miss
    body = waves_time(
        plan.thread_blocks, float(machine.units), lambda running: smooth_max(8.0, chain_s, running * per_block_s)
    )
    rows = as_array(points.batch) * points.q_heads
    partial_s = 4 * 2 * plan.splits * rows * (_VALUE_CHANNELS + 1) / machine.bandwidth_bytes_per_s
    combine = np.where(plan.splits > 1, p["combine_us"] * MICRO * (1 + plan.splits / 32) + p["partials"] * partial_s, 0)
    io_s = p["io"] * _io_bytes(points) / machine.bandwidth_bytes_per_s
    missing_rows = 1 - (length - _BLOCK_TOKENS * (ceil_div(length, _BLOCK_TOKENS) - 1)) / _BLOCK_TOKENS
    heads_us = _MORE_HEADS_US * np.log2(np.maximum(as_array(points.q_heads), 8) / 8)
    fixed_us = p["launch_us"] + p["partial_block_us"] * missing_rows + heads_us + p["fill_us"] * miss
    seconds = fixed_us * MICRO + body + combine + io_s
    return np.maximum(seconds, np.where(as_array(points.warm) > 0, 0.0, bound_s(points, machine, element_bytes)))


_PARAMETERS = (
    microseconds("launch_us", "launch, prologue and first KV block", 3, 30, 12),
    microseconds("step_us", "one thread block, one block of 64 tokens", 0.05, 10, 1.8),
    microseconds("fill_us", "first bytes and uneven ends when the cache comes from memory", 0.05, 30, 3),
    ratio("l2_share", "part of the last-level cache that a repeated buffer can use", 0.2, 1.6, 0.75),
    microseconds("combine_us", "the kernel that adds up splits", 0.02, 20, 1.5),
    ratio("partials", "traffic of partial outputs, in memory passes", 0.05, 5, 0.6),
    ratio("io", "traffic of queries and outputs, in memory passes", 0.05, 10, 1.8),
    microseconds("partial_block_us", "masking a last block that is nearly empty", 0.05, 20, 1.5),
)

FAMILIES = tuple(
    Family(
        name=f"mla-decode/{name}",
        kernel="mla_decode",
        parameters=_PARAMETERS,
        seconds=partial(latent_decode_s, element_bytes=element_bytes),
        ideal_seconds=partial(bound_s, element_bytes=element_bytes),
        reference="get_mla_metadata and docs of deepseek-ai/FlashMLA",
    )
    for name, element_bytes in (("bf16", 2.0), ("fp8", 1.0))
)
