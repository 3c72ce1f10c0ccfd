"""Decode attention of FlashAttention under vLLM: version 3 on Hopper (16-bit and fp8 cache), version 2 elsewhere."""

from __future__ import annotations

from functools import partial

import numpy as np

from kvwall.simulator.kernel_time.common import MICRO, Parameters, as_array, microseconds, ratio
from kvwall.simulator.kernel_time.decode import (
    HBM,
    HBM_FIXED,
    SPLIT_KV,
    body_s,
    bound_s,
    cached_part,
    first_step,
    partial_us,
    ramped_waves,
    total_s,
)
from kvwall.simulator.kernel_time.decode_plans import (
    Plan,
    attended_tokens,
    flash2_plan,
    flash3_plan,
    flash4_plan,
    group_size,
)
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.traffic import Array

#: Sequences this far apart, in rows of this many bytes, start on the same memory channels.
_CONFLICT_ROW_BYTES = 2048
_CONFLICT_SPACING_BYTES = 16 * 2**20
_CONFLICT_END_BYTES = 300e6


def flash3_step_tokens(points: Points) -> Array:
    """KV block of the 16-bit kernel over a paged cache."""
    head_dim = as_array(points.head_dim)
    return np.where(head_dim <= 128, 128.0, np.where(head_dim <= 192, 96.0, 80.0))


def flash3_fp8_step_tokens(points: Points) -> Array:
    """KV block of the fp8 kernel, as its steps of time show it."""
    return np.where(as_array(points.head_dim) <= 64, 160.0, 96.0)


def _conflicting(points: Points, plan: Plan, machine: Machine) -> Array:
    """Where the thread blocks of one wave march through memory in step and meet on the same channels.

    Seen on contiguous buffers that a benchmark repeats; scattered pages of a serving cache do not line up.
    """
    if not np.any(points.warm):
        return as_array(0.0)
    row_bytes = as_array(points.kv_heads) * points.head_dim * 2
    sequence_bytes = row_bytes * attended_tokens(points)
    lined_up = (row_bytes >= _CONFLICT_ROW_BYTES) & (sequence_bytes >= _CONFLICT_SPACING_BYTES)
    one_wave = (as_array(points.batch) * sequence_bytes <= _CONFLICT_END_BYTES) & (plan.thread_blocks <= machine.units)
    return np.where(lined_up & one_wave & (as_array(points.warm) > 0), 1.0, 0.0)


def flash3_s(points: Points, p: Parameters, machine: Machine) -> Array:
    """Seconds of FlashAttention-3 decode over a 16-bit cache."""
    step_tokens, dims = flash3_step_tokens(points), as_array(points.head_dim) / 128
    plan = flash3_plan(points, machine, step_tokens)
    moved, miss = cached_part(points, p, machine, 2.0)
    step_s = p["step_us"] * MICRO * dims**0.75 * step_tokens / 128
    chain_s = (plan.steps - 1 + first_step(points, plan, 0.5)) * step_s
    reached = p["hbm_fraction"] / (1 + p["channel_conflict"] * _conflicting(points, plan, machine))
    body = body_s(plan, machine, chain_s, moved, reached, miss) + p["fill_us"] * MICRO * miss
    combine_us = np.where(plan.splits > 1, p["combine_us"] * (1 + plan.splits / 32), 0.0)
    tiles_us = ramped_waves(plan, machine) * p["wave_us"] * dims**0.5
    return total_s(points, machine, 2.0, p["launch_us"] * dims**0.12, body, tiles_us, combine_us)


def flash3_fp8_s(points: Points, p: Parameters, machine: Machine) -> Array:
    """Seconds of FlashAttention-3 decode over an fp8 cache.

    Values are transposed and operands re-laid inside the kernel, which costs ``head_dim**dim_exponent`` per token up to
    128 and about the square above: the walk of a thread block, not memory, decides.
    """
    step_tokens, dims = flash3_fp8_step_tokens(points), as_array(points.head_dim) / 128
    plan = flash3_plan(points, machine, step_tokens)
    moved, miss = cached_part(points, p, machine, 1.0)
    step_s = p["step_us"] * MICRO * dims ** np.where(dims <= 1, p["dim_exponent"], 2.0) * step_tokens / 128
    chain_s = (plan.steps - 1 + first_step(points, plan, 0.5)) * step_s
    body = body_s(plan, machine, chain_s, moved, HBM_FIXED, miss, sharpness=10.0) + p["fill_us"] * MICRO * miss
    combine_us = np.where(plan.splits > 1, p["combine_us"] * (1 + plan.splits / 16 * dims), 0.0)
    tiles_us = ramped_waves(plan, machine) * p["wave_us"] * dims**0.6
    return total_s(points, machine, 1.0, p["launch_us"] * dims**0.24, body, tiles_us, combine_us)


def flash4_s(points: Points, p: Parameters, machine: Machine) -> Array:
    """Seconds of FlashAttention-4 decode at head_dim 512: idle splits cost a wave each."""
    plan = flash4_plan(points)
    moved, miss = cached_part(points, p, machine, 2.0)
    chain_s = (plan.steps - 1 + first_step(points, plan, 0.25)) * p["step_us"] * MICRO
    body = body_s(plan, machine, chain_s, moved, p["hbm_fraction"], miss) + p["fill_us"] * MICRO * miss
    tiles_us = ramped_waves(plan, machine) * p["wave_us"]
    return total_s(points, machine, 2.0, p["launch_us"], body, tiles_us, 0.0)


def flash2_s(points: Points, p: Parameters, machine: Machine) -> Array:
    """Seconds of FlashAttention-2 decode over a 16-bit cache.

    Groups are packed into rows by copies of queries and outputs, which are free when one of batch and KV heads is 1.
    """
    plan, dims = flash2_plan(points, machine), as_array(points.head_dim) / 128
    moved, miss = cached_part(points, p, machine, 2.0)
    step_s = p["step_us"] * MICRO * dims**0.75 * plan.step_tokens / 128
    chain_s = (plan.steps - 1 + first_step(points, plan, 0.25)) * step_s
    body = body_s(plan, machine, chain_s, moved, p["hbm_fraction"], miss, sharpness=10.0) + p["fill_us"] * MICRO * miss
    grouped = group_size(points) > 1
    copied = grouped & (as_array(points.batch) > 1) & (as_array(points.kv_heads) > 1)
    parts_us = partial_us(points, plan, machine)
    combine_us = p["combine_us"] * (1 - 0.4 * copied + plan.splits / 24) + parts_us
    # Queries and outputs in 16 bits are as many bytes as the partial output of one split in 32.
    copies_us = 0.25 * p["copy_us"] * grouped + copied * (p["copy_us"] + parts_us / plan.splits)
    extra_us = copies_us + np.where(plan.splits > 1, combine_us, 0.0)
    tiles_us = ramped_waves(plan, machine) * p["wave_us"] * dims**0.25
    return total_s(points, machine, 2.0, p["launch_us"] * dims**-0.04, body, tiles_us, extra_us)


FAMILIES = (
    Family(
        name="decode/fa3-bf16",
        kernel="decode_attention",
        parameters=(
            *SPLIT_KV,
            HBM,
            ratio("channel_conflict", "slowdown where sequences start on the same memory channels", 0.005, 0.4, 0.05),
        ),
        seconds=flash3_s,
        ideal_seconds=partial(bound_s, element_bytes=2.0),
        reference="arXiv 2407.08608; hopper/flash_prepare_scheduler.cu of vllm-project/flash-attention",
    ),
    Family(
        name="decode/fa3-fp8",
        kernel="decode_attention",
        parameters=(*SPLIT_KV, ratio("dim_exponent", "growth of a step with head_dim up to 128", 0.2, 2, 0.8)),
        seconds=flash3_fp8_s,
        ideal_seconds=partial(bound_s, element_bytes=1.0),
        reference="arXiv 2407.08608; hopper/flash_prepare_scheduler.cu of vllm-project/flash-attention",
    ),
    Family(
        name="decode/fa4-bf16",
        kernel="decode_attention",
        parameters=(*(parameter for parameter in SPLIT_KV if parameter.name != "combine_us"), HBM),
        seconds=flash4_s,
        ideal_seconds=partial(bound_s, element_bytes=2.0),
        reference="flash_attn/cute of Dao-AILab/flash-attention",
    ),
    Family(
        name="decode/fa2-bf16",
        kernel="decode_attention",
        parameters=(
            *SPLIT_KV,
            HBM,
            microseconds("copy_us", "copies of queries in and outputs out when groups are packed", 0.05, 20, 5),
        ),
        seconds=flash2_s,
        ideal_seconds=partial(bound_s, element_bytes=2.0),
        reference="arXiv 2307.08691; csrc/flash_attn/flash_api.cpp of Dao-AILab/flash-attention",
    ),
)
