"""Decode attention of TensorRT-LLM on Hopper: the tensor-core kernels XQA and the CUDA-core kernel MMHA."""

from __future__ import annotations

from dataclasses import dataclass
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
_WIDE_FILL = ratio("wide_fill", "fill of a kernel for over 8 heads a group over that of one for up to 8", 1, 20, 4)

#: A second tile of query rows makes a step of the 16-bit kernel half as long again, and triples what it takes until the
#: cache streams: a deeper pipeline to fill with fewer stages to do it.
_SECOND_STEP, _SECOND_FILL = 0.5, 2.0


def _later_waves(plan: Plan, slots: float | Array) -> Array:
    return ceil_div(plan.thread_blocks, slots) - 1


def _split_us(plan: Plan, p: Parameters) -> Array:
    return np.where(plan.splits > 1, p["combine_us"] * (1 + plan.splits / 32), 0.0)


def xqa_s(points: Points, p: Parameters, machine: Machine) -> Array:
    """Seconds of XQA over a 16-bit cache: groups are padded to 16 rows, or to 32 in two tiles."""
    plan, dims = xqa_plan(points, machine), as_array(points.head_dim) / 128
    moved, miss = cached_part(points, p, machine, 2.0)
    second_tile = ceil_div(group_size(points), 16) - 1
    chain_s = (plan.steps - 1 + first_step(points, plan, 0.25)) * p["step_us"] * MICRO * dims
    chain_s = chain_s * (1 + _SECOND_STEP * second_tile)
    fill_s = p["fill_us"] * MICRO * miss * (1 + _SECOND_FILL * second_tile)
    body = body_s(plan, machine, chain_s, moved, p["hbm_fraction"], miss) + fill_s
    extra_us = np.where(plan.steps > 1, p["restart_us"], 0.0) + _split_us(plan, p)
    tiles_us = _later_waves(plan, machine.units) * p["wave_us"] * dims**0.5 * (1 + second_tile)
    launch_us = p["launch_us"] * dims**0.12 * (1 + 0.2 * second_tile)
    return total_s(points, machine, 2.0, launch_us, body, tiles_us, extra_us)


@dataclass(frozen=True)
class _Wider:
    """What a kernel for more heads a group costs over the one for eight: factors, and shares for each ``wide``.

    :ivar step: factor of the walk, and ``fill`` of the first bytes from memory
    :ivar tile: share that a later wave takes longer, and ``launch`` the start
    """

    step: Array
    fill: Array
    tile: float
    launch: float


def _xqa_fp8(points: Points, p: Parameters, machine: Machine, plan: Plan, wide: Array, scale: _Wider) -> Array:
    dims = as_array(points.head_dim) / 128
    moved, miss = cached_part(points, p, machine, 1.0)
    step_s = p["step_us"] * MICRO * dims * scale.step * plan.step_tokens / 128
    chain_s = (plan.steps - 1 + first_step(points, plan, 0.25)) * step_s
    body = body_s(plan, machine, chain_s, moved, HBM_FIXED, miss) + p["fill_us"] * MICRO * miss * scale.fill
    extra_us = np.where(plan.steps * plan.step_tokens > 128, p["restart_us"], 0.0) + _split_us(plan, p)
    tiles_us = _later_waves(plan, machine.units) * p["wave_us"] * dims**0.5 * (1 + scale.tile * wide)
    launch_us = p["launch_us"] * dims**0.12 * (1 + scale.launch * wide)
    return total_s(points, machine, 1.0, launch_us, body, tiles_us, extra_us)


def xqa_fp8_s(points: Points, p: Parameters, machine: Machine) -> Array:
    """Seconds of XQA over an fp8 cache at head_dim 128: one kernel per eight heads of a group."""
    wide = ceil_div(group_size(points), 8) - 1
    plan = xqa_hopper_plan(points, machine)
    return _xqa_fp8(points, p, machine, plan, wide, _Wider(1 + (p["wide_step"] - 1) * wide, 1 + 0.5 * wide, 0.5, 0.2))


def xqa_fp8_narrow_s(points: Points, p: Parameters, machine: Machine) -> Array:
    """Seconds of XQA over an fp8 cache at head_dim 64: kernels for 8, 16 and 32 heads a group."""
    wide = np.ceil(np.log2(np.maximum(group_size(points), 8) / 8))
    scale = _Wider(p["wide_step"] ** wide, np.ones_like(wide), 0.5, 0.1)
    return _xqa_fp8(points, p, machine, xqa_hopper_plan(points, machine), wide, scale)


def xqa_fp8_wide_s(points: Points, p: Parameters, machine: Machine) -> Array:
    """Seconds of XQA over an fp8 cache at head_dim 192 and 256.

    With more than eight heads a group it reaches the rate of the memory as well, but its first bytes take some 40 us.
    """
    wide = np.ceil(np.log2(np.maximum(group_size(points), 8) / 8))
    scale = _Wider(np.ones_like(wide), p["wide_fill"] ** wide, 0.0, 0.2)
    return _xqa_fp8(points, p, machine, xqa_plan(points, machine), wide, scale)


def mmha_s(points: Points, p: Parameters, machine: Machine, element_bytes: float) -> Array:
    """Seconds of MMHA: every query head reads the keys and values of its group for itself.

    The launch grows with head_dim over a 16-bit cache only.
    """
    plan, dims = mmha_plan(points, machine), as_array(points.head_dim) / 128
    moved, miss = cached_part(points, p, machine, element_bytes)
    length = attended_tokens(points)
    threads = plan.step_tokens * 2 ** np.ceil(np.log2(as_array(points.head_dim))) * 2 / (8 * 16)
    first = 0.25 * np.minimum(1.0, ceil_div(length, plan.splits) / plan.step_tokens)
    chain_s = (plan.steps - 1 + first) * p["loop_us"] * MICRO * threads / 1024
    body = body_s(plan, machine, chain_s, moved, p["hbm_fraction"], miss) + p["fill_us"] * MICRO * miss
    extra_us = np.where(length > _MMHA_SHORT_TOKENS, p["restart_us"], 0.0) + _split_us(plan, p)
    tiles_us = _later_waves(plan, machine.units * plan.residents) * p["wave_us"] * dims**0.5
    launch_us = p["launch_us"] * dims ** (0.12 if element_bytes > 1 else 0.0)
    return total_s(points, machine, element_bytes, launch_us, body, tiles_us, extra_us)


_REFERENCE = "cpp/tensorrt_llm/kernels/decoderMaskedMultiheadAttention of NVIDIA/TensorRT-LLM"
_LOOP = microseconds("loop_us", "one loop of 1024 threads over keys and values, 256 bytes a thread", 0.05, 20, 4)
_MMHA: tuple[Parameter, ...] = (*(_LOOP if p.name == "step_us" else p for p in SPLIT_KV), HBM, _RESTART)

_KERNELS = (
    ("xqa-bf16-narrow", xqa_s, 2.0, (*SPLIT_KV, _RESTART, HBM)),
    ("xqa-bf16-wide", xqa_s, 2.0, (*SPLIT_KV, _RESTART, HBM)),
    ("xqa-fp8-d128", xqa_fp8_s, 1.0, (*SPLIT_KV, _RESTART, _WIDE)),
    ("xqa-fp8-d64", xqa_fp8_narrow_s, 1.0, (*SPLIT_KV, _RESTART, _WIDE)),
    ("xqa-fp8-wide", xqa_fp8_wide_s, 1.0, (*SPLIT_KV, _RESTART, _WIDE_FILL)),
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
