"""Decode attention of TensorRT-LLM on Hopper: the tensor-core kernels XQA and the CUDA-core kernel MMHA."""

from __future__ import annotations

from functools import partial

import numpy as np

from kvwall.simulator.kernel_time.common import MICRO, Parameters, as_array, ceil_div, microseconds, ratio
from kvwall.simulator.kernel_time.decode import (
    HBM,
    HBM_FIXED,
    SPLIT_KV,
    body_s,
    bound_s,
    cached_part,
    first_step,
    total_s,
)
from kvwall.simulator.kernel_time.decode_plans import (
    Plan,
    attended_tokens,
    group_size,
    mmha_plan,
    xqa_hopper_plan,
    xqa_plan,
)
from kvwall.simulator.kernel_time.family import Family, Parameter
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.traffic import Array

#: Tokens from which MMHA leaves its shortest loop.
_MMHA_SHORT_TOKENS = 48

_RESTART = microseconds("restart_us", "filling the pipeline when a thread block has a second step", 0.02, 20, 2)
_WIDE = ratio("wide_step", "step of a kernel for 9 to 16 heads a group over one for up to 8", 1, 5, 1.6)


def _later_waves(plan: Plan, slots: float | Array) -> Array:
    return ceil_div(plan.thread_blocks, slots) - 1


def _split_us(plan: Plan, p: Parameters) -> Array:
    return np.where(plan.splits > 1, p["combine_us"] * (1 + plan.splits / 32), 0.0)


def xqa_s(points: Points, p: Parameters, machine: Machine) -> Array:
    """Seconds of XQA over a 16-bit cache: groups are padded to 16 rows, or to 32 at twice the work."""
    plan, dims = xqa_plan(points, machine), as_array(points.head_dim) / 128
    moved, miss = cached_part(points, p, machine, 2.0)
    second_tile = ceil_div(group_size(points), 16) - 1
    chain_s = (plan.steps - 1 + first_step(points, plan, 0.25)) * p["step_us"] * MICRO * dims * (1 + second_tile)
    body = body_s(plan, machine, chain_s, moved, p["hbm_fraction"], miss) + p["fill_us"] * MICRO * miss
    extra_us = np.where(plan.steps > 1, p["restart_us"], 0.0) + _split_us(plan, p)
    tiles_us = _later_waves(plan, machine.units) * p["wave_us"] * dims**0.5
    launch_us = p["launch_us"] * dims**0.12 * (1 + 0.2 * second_tile)
    return total_s(points, machine, 2.0, launch_us, body, tiles_us, extra_us)


def _xqa_fp8(
    points: Points, p: Parameters, machine: Machine, plan: Plan, wide: Array, step_scale: Array, launch_scale: float
) -> Array:
    dims = as_array(points.head_dim) / 128
    moved, miss = cached_part(points, p, machine, 1.0)
    step_s = p["step_us"] * MICRO * dims * step_scale * plan.step_tokens / 128
    chain_s = (plan.steps - 1 + first_step(points, plan, 0.25)) * step_s
    body = body_s(plan, machine, chain_s, moved, HBM_FIXED, miss) + p["fill_us"] * MICRO * miss
    extra_us = np.where(plan.steps * plan.step_tokens > 128, p["restart_us"], 0.0) + _split_us(plan, p)
    tiles_us = _later_waves(plan, machine.units) * p["wave_us"] * dims**0.5
    launch_us = p["launch_us"] * dims**0.12 * (1 + launch_scale * wide)
    return total_s(points, machine, 1.0, launch_us, body, tiles_us, extra_us)


def xqa_fp8_s(points: Points, p: Parameters, machine: Machine) -> Array:
    """Seconds of XQA over an fp8 cache at head_dim 128: one kernel per eight heads of a group."""
    wide = ceil_div(group_size(points), 8) - 1
    plan = xqa_hopper_plan(points, machine)
    return _xqa_fp8(points, p, machine, plan, wide, 1 + (p["wide_step"] - 1) * wide, 0.2)


def xqa_fp8_narrow_s(points: Points, p: Parameters, machine: Machine) -> Array:
    """Seconds of XQA over an fp8 cache at head_dim 64: kernels for 8, 16 and 32 heads a group."""
    wide = np.ceil(np.log2(np.maximum(group_size(points), 8) / 8))
    return _xqa_fp8(points, p, machine, xqa_hopper_plan(points, machine), wide, p["wide_step"] ** wide, 0.1)


def xqa_fp8_wide_s(points: Points, p: Parameters, machine: Machine) -> Array:
    """Seconds of XQA over an fp8 cache at head_dim 192 and 256."""
    wide = np.ceil(np.log2(np.maximum(group_size(points), 8) / 8))
    return _xqa_fp8(points, p, machine, xqa_plan(points, machine), wide, p["wide_step"] ** wide, 0.2)


def mmha_s(points: Points, p: Parameters, machine: Machine, element_bytes: float) -> Array:
    """Seconds of MMHA: every query head reads the keys and values of its group for itself."""
    plan, dims = mmha_plan(points, machine), as_array(points.head_dim) / 128
    moved, miss = cached_part(points, p, machine, element_bytes)
    length = attended_tokens(points)
    threads = plan.step_tokens * 2 ** np.ceil(np.log2(as_array(points.head_dim))) * 2 / (8 * 16)
    first = 0.25 * np.minimum(1.0, ceil_div(length, plan.splits) / plan.step_tokens)
    chain_s = (plan.steps - 1 + first) * p["loop_us"] * MICRO * threads / 1024
    body = body_s(plan, machine, chain_s, moved, p["hbm_fraction"], miss) + p["fill_us"] * MICRO * miss
    extra_us = np.where(length > _MMHA_SHORT_TOKENS, p["restart_us"], 0.0) + _split_us(plan, p)
    tiles_us = _later_waves(plan, machine.units * plan.residents) * p["wave_us"] * dims**0.5
    return total_s(points, machine, element_bytes, p["launch_us"] * dims**0.12, body, tiles_us, extra_us)


_REFERENCE = "cpp/tensorrt_llm/kernels/decoderMaskedMultiheadAttention of NVIDIA/TensorRT-LLM"
_LOOP = microseconds("loop_us", "one loop of 1024 threads over keys and values, 256 bytes a thread", 0.05, 20, 4)
_MMHA: tuple[Parameter, ...] = (*(_LOOP if p.name == "step_us" else p for p in SPLIT_KV), HBM, _RESTART)

_KERNELS = (
    ("xqa-bf16-narrow", xqa_s, 2.0, (*SPLIT_KV, _RESTART, HBM)),
    ("xqa-bf16-wide", xqa_s, 2.0, (*SPLIT_KV, _RESTART, HBM)),
    ("xqa-fp8-d128", xqa_fp8_s, 1.0, (*SPLIT_KV, _RESTART, _WIDE)),
    ("xqa-fp8-d64", xqa_fp8_narrow_s, 1.0, (*SPLIT_KV, _RESTART, _WIDE)),
    ("xqa-fp8-wide", xqa_fp8_wide_s, 1.0, (*SPLIT_KV, _RESTART, _WIDE)),
    ("mmha-bf16", partial(mmha_s, element_bytes=2.0), 2.0, _MMHA),
    ("mmha-fp8", partial(mmha_s, element_bytes=1.0), 1.0, _MMHA),
)

FAMILIES = tuple(
    Family(
        name=f"decode/{name}",
        kernel="decode_attention",
        parameters=parameters,
        seconds=seconds,
        ideal_seconds=partial(bound_s, element_bytes=element_bytes),
        reference=_REFERENCE,
    )
    for name, seconds, element_bytes, parameters in _KERNELS
)
