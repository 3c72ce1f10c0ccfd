"""Attention on any device by any library: a launch, two efficiencies, and nothing of how the kernel is planned.

The fallback where no plan is known. Its error below 10 us of ideal time is the launch's, and above it that of one
efficiency for all shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from kvwall.simulator.kernel_time import decode, mla, prefill
from kvwall.simulator.kernel_time.common import (
    MICRO,
    Parameters,
    as_array,
    ceil_div,
    microseconds,
    miss_fraction,
    ratio,
    smooth_max,
)
from kvwall.simulator.kernel_time.decode_plans import group_size
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.kernel_time.prefill import PrefillKernel, last_wave_tail_s
from kvwall.simulator.kernel_time.prefill_plans import flash2_tiles
from kvwall.simulator.traffic import Array

_SHARPNESS = 3.0

_LAUNCH = microseconds("launch_us", "launch, prologue and combination of splits", 2, 100, 10)
_HBM = ratio("hbm_fraction", "achieved part of the memory bandwidth", 0.1, 0.99, 0.8)
_L2 = ratio("l2_share", "part of the last-level cache that a repeated buffer can use", 0.2, 1.6, 0.75)
_WAVE = microseconds("wave_us", "each further sequence and KV head per compute unit", 0.02, 20, 2)
_MATRIX = ratio("matrix_fraction", "achieved part of the matrix peak", 0.02, 1, 0.55)
_SHORT = ratio("half_tokens", "new tokens at which half of the matrix rate is reached, in thousands", 0.02, 5, 0.4)

#: What traffic that stays in the last-level cache costs, against memory.
_CACHED_COST = 0.3


def _decode_s(points: Points, p: Parameters, machine: Machine, element_bytes: float, latent: bool) -> Array:
    bound = (mla.bound_s if latent else decode.bound_s)(points, machine, element_bytes)
    moved = bound * machine.bandwidth_bytes_per_s
    miss = miss_fraction(moved, p["l2_share"], machine, points.warm)
    busy_s = bound / p["hbm_fraction"] * (miss + (1 - miss) * _CACHED_COST)
    heads = as_array(points.batch) * (1.0 if latent else points.kv_heads)
    tiles_s = (ceil_div(heads * ceil_div(group_size(points), 64), machine.units) - 1) * p["wave_us"] * MICRO
    seconds = p["launch_us"] * MICRO + smooth_max(_SHARPNESS, busy_s, tiles_s)
    return np.maximum(seconds, np.where(as_array(points.warm) > 0, 0.0, bound))


def _prefill_s(points: Points, p: Parameters, machine: Machine, kernel: PrefillKernel) -> Array:
    channels = as_array(points.head_dim) + points.value_dim
    flops = 2 * as_array(points.batch) * points.q_heads * channels * prefill.causal_pairs(points)
    slow = 1 + p["half_tokens"] * 1000 / as_array(points.kv_len)
    matrix_s = flops / machine.matrix_flops_per_s[kernel.dtype] / p["matrix_fraction"] * slow
    bound = prefill.bound_s(points, machine, kernel)
    memory_s = np.where(matrix_s > bound, 0.0, bound) / p["hbm_fraction"]
    return np.maximum(p["launch_us"] * MICRO + smooth_max(_SHARPNESS, matrix_s, memory_s), bound)


def _kernel(cache_bytes: float, fp8_products: bool) -> PrefillKernel:
    return PrefillKernel(
        flash2_tiles, cache_bytes, "fp8" if fp8_products else "bf16", last_wave_tail_s, sharpness=_SHARPNESS,
        short_tile=1.0,
    )  # fmt: skip


def _decode_family(name: str, kernel: str, element_bytes: float, latent: bool) -> Family:
    bound: Callable[..., Array] = mla.bound_s if latent else decode.bound_s
    return Family(
        name=name,
        kernel=kernel,
        parameters=(_LAUNCH, _HBM, _L2, _WAVE),
        seconds=partial(_decode_s, element_bytes=element_bytes, latent=latent),
        ideal_seconds=partial(bound, element_bytes=element_bytes),
        reference="roofline with a launch (Williams et al., CACM 2009)",
    )


def _prefill_family(name: str, kernel: str, cache_bytes: float, fp8_products: bool) -> Family:
    known = _kernel(cache_bytes, fp8_products)
    return Family(
        name=name,
        kernel=kernel,
        parameters=(_LAUNCH, _HBM, _MATRIX, _SHORT),
        seconds=partial(_prefill_s, kernel=known),
        ideal_seconds=partial(prefill.bound_s, kernel=known),
        reference="roofline with a launch (Williams et al., CACM 2009)",
    )


FAMILIES = (
    _decode_family("decode/generic", "decode_attention", 2.0, latent=False),
    _decode_family("decode/generic-fp8", "decode_attention", 1.0, latent=False),
    _prefill_family("prefill/generic", "prefill_attention", 2.0, fp8_products=False),
    _prefill_family("prefill/generic-fp8-cache", "prefill_attention", 1.0, fp8_products=False),
    _prefill_family("prefill/generic-fp8", "prefill_attention", 1.0, fp8_products=True),
    _decode_family("mla-decode/generic", "mla_decode", 2.0, latent=True),
    _decode_family("mla-decode/generic-fp8", "mla_decode", 1.0, latent=True),
    _prefill_family("mla-prefill/generic", "mla_prefill", 2.0, fp8_products=False),
    _prefill_family("mla-prefill/generic-fp8", "mla_prefill", 1.0, fp8_products=False),
)
