"""The roofline with a launch: bytes against operations, for processors and for kernels that state their own work.

``launch + (memory^p + arithmetic^p)^(1/p)`` with ``memory = bytes / (bandwidth x fraction)`` and ``arithmetic =
operations / (peak x fraction)``. Nothing is known of how the kernel is planned, so it serves what has no plan of its
own here: torch on a processor, fp32 attention, and kernels of any make whose rows state the bytes that they move.

What is written last may still lie in the last-level cache when the kernel ends, and a repeated buffer that fits is read
from there: both cost ``cached_cost`` of a byte from memory.

Reference: Williams, Waterman, Patterson, "Roofline", CACM 2009.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from kvwall.hardware.dtype import Dtype
from kvwall.simulator.kernel_time.common import (
    MICRO,
    Parameters,
    as_array,
    microseconds,
    miss_fraction,
    ratio,
    smooth_max,
)
from kvwall.simulator.kernel_time.decode import kv_bytes
from kvwall.simulator.kernel_time.decode_plans import attended_tokens
from kvwall.simulator.kernel_time.family import Family, Parameter
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.kernel_time.prefill import causal_pairs
from kvwall.simulator.traffic import Array, Numeric

LAUNCH = microseconds("launch_us", "start of the kernel and of its threads", 0.3, 2000, 10)
FILL = microseconds("fill_us", "first bytes and pages when the cache is cold", 0.05, 60, 10)
HBM = ratio("hbm_fraction", "achieved part of the memory bandwidth", 0.02, 1.0, 0.7)
MATRIX = ratio("matrix_fraction", "achieved part of the matrix peak", 0.002, 1.0, 0.4)
OVERLAP = ratio("overlap", "how far traffic and arithmetic hide behind each other: 1 not at all", 1.0, 8.0, 2.0)
SHARE = ratio("l2_share", "part of the last-level cache that a repeated buffer can use", 0.2, 1.6, 0.75)
CACHED = ratio("cached_cost", "time of a byte in the last-level cache, against one from memory", 0.02, 1.0, 0.3)
HALF = ratio("half_tokens", "attended tokens at which half of the matrix rate is reached, in thousands", 0.001, 5, 0.05)
PASSES = ratio("row_passes", "memory passes of a product of several rows, against that of one row", 0.2, 8.0, 1.3)

#: Elements of the formats that have families of their own.
_BYTES: dict[Dtype, float] = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0}


@dataclass(frozen=True)
class Amount:
    """Compulsory work of each point.

    :ivar moved_bytes: read and written once
    :ivar flops: two for a multiply and add
    :ivar written_bytes: those of ``moved_bytes`` that may stay in the last-level cache
    """

    moved_bytes: Array
    flops: Array
    written_bytes: Numeric = 0.0


Count = Callable[[Points], Amount]


def stated(points: Points) -> Amount:
    """What the rows themselves say."""
    return Amount(as_array(points.moved_bytes), as_array(points.flops))


def copied(points: Points) -> Amount:
    """A copy within the device's memory: its payload read and written."""
    payload = as_array(points.message_bytes)
    return Amount(2 * payload, 0 * payload, payload)


def gathered(points: Points) -> Amount:
    """Scattered rows on the host itself: read, written to a staging buffer, and copied out of it."""
    rows = as_array(points.moved_bytes)
    return Amount(4 * rows, 0 * rows, 3 * rows)


def decoded(points: Points, element_bytes: float) -> Amount:
    """Decode attention: keys and values of all attended tokens, queries and outputs."""
    channels = as_array(points.head_dim) + points.value_dim
    rows = as_array(points.batch) * points.q_heads
    moved = kv_bytes(points, element_bytes) + rows * channels * element_bytes
    return Amount(as_array(moved), as_array(2 * rows * attended_tokens(points) * channels))


def decoded_latent(points: Points, element_bytes: float) -> Amount:
    """Decode over a latent cache: each latent once, whose channels are keys and, but for the rotary ones, values."""
    channels = as_array(points.head_dim) + points.value_dim
    tokens = as_array(points.batch) * attended_tokens(points)
    rows = as_array(points.batch) * points.q_heads
    moved = (tokens * points.head_dim + rows * channels) * element_bytes
    return Amount(as_array(moved), as_array(2 * tokens * points.q_heads * channels))


def prefilled(points: Points, element_bytes: float) -> Amount:
    """Causal attention of new tokens to all before them."""
    channels = as_array(points.head_dim) + points.value_dim
    queries = as_array(points.q_len) * points.q_heads
    moved = as_array(points.batch) * (attended_tokens(points) * points.kv_heads + queries) * channels * element_bytes
    flops = 2 * as_array(points.batch) * points.q_heads * channels * causal_pairs(points)
    return Amount(as_array(moved), as_array(flops))


def multiplied(points: Points, element_bytes: float) -> Amount:
    """A product ``y[m, n] = x[m, k] W[k, n]``."""
    m, n, k = (as_array(value) for value in (points.m, points.n, points.k))
    return Amount((m * k + k * n + m * n) * element_bytes, 2 * m * n * k)


def bound_s(points: Points, machine: Machine, count: Count, dtype: Dtype) -> Array:
    """The data sheet's bound: what must pass through memory at its peak, or the operations at theirs."""
    work = count(points)
    must_move = work.moved_bytes - np.minimum(work.written_bytes, machine.l2_bytes)
    return np.maximum(must_move / machine.bandwidth_bytes_per_s, work.flops / machine.matrix_flops_per_s[dtype])


def roofline_s(points: Points, p: Parameters, machine: Machine, count: Count, dtype: Dtype) -> Array:
    """Seconds of each point. A parameter that a family does not fit has its default here."""
    work = count(points)
    share = p.get(SHARE.name, SHARE.default)
    missed = miss_fraction(work.moved_bytes, share, machine, points.warm)
    written = as_array(work.written_bytes)
    kept = written * (1 - miss_fraction(written, share, machine, 1.0))
    slow = (work.moved_bytes - kept) * missed
    fast = work.moved_bytes - slow
    passes = np.where(as_array(points.m) > 1, p.get(PASSES.name, 1.0), 1.0)
    paid = slow + p.get(CACHED.name, CACHED.default) * fast
    memory_s = passes * paid / (p[HBM.name] * machine.bandwidth_bytes_per_s) if HBM.name in p else 0 * paid
    rate = machine.matrix_flops_per_s[dtype] * p.get(MATRIX.name, 1.0)
    arithmetic_s = work.flops / rate * (1 + 1000 * p.get(HALF.name, 0.0) / as_array(points.kv_len))
    fixed_s = (p[LAUNCH.name] + p.get(FILL.name, 0.0) * (1 - as_array(points.warm))) * MICRO
    seconds = fixed_s + smooth_max(p.get(OVERLAP.name, OVERLAP.default), memory_s, arithmetic_s)
    cold_bound = np.where(as_array(points.warm) > 0, 0.0, bound_s(points, machine, count, dtype))
    return np.maximum(seconds, cold_bound)


def _with(count: Callable[[Points, float], Amount], element_bytes: float) -> Count:
    return lambda points: count(points, element_bytes)


def _family(name: str, kernel: str, parameters: tuple[Parameter, ...], count: Count, dtype: Dtype) -> Family:
    return Family(
        name=f"roofline/{name}",
        kernel=kernel,
        parameters=parameters,
        seconds=partial(roofline_s, count=count, dtype=dtype),
        ideal_seconds=partial(bound_s, count=count, dtype=dtype),
        reference="roofline with a launch (Williams et al., CACM 2009)",
    )


_BOTH = (LAUNCH, HBM, MATRIX, OVERLAP)

#: Kernels whose work their shape tells, by the first part of their families' names.
_SHAPED: dict[str, tuple[str, tuple[Parameter, ...], Callable[[Points, float], Amount]]] = {
    "decode": ("decode_attention", _BOTH, decoded),
    "prefill": ("prefill_attention", (LAUNCH, HBM, MATRIX, HALF), prefilled),
    "mla-decode": ("mla_decode", _BOTH, decoded_latent),
    "mla-prefill": ("mla_prefill", (LAUNCH, HBM, MATRIX, HALF), prefilled),
    "gemm": ("gemm", (*_BOTH, PASSES), multiplied),
}

#: Kernels whose rows state their work.
_STATED = ("sparse_decode", "lowrank_decode", "rematerialize", "evict", "quantize", "decode_kivi", "decode_int4")

FAMILIES: tuple[Family, ...] = (
    *(
        _family(f"{name}-{dtype}", kernel, parameters, _with(count, size), dtype)
        for name, (kernel, parameters, count) in _SHAPED.items()
        for dtype, size in _BYTES.items()
    ),
    *(
        _family(f"{name}-{dtype}", "decode_attention" if name.startswith("decode_") else name, _BOTH, stated, dtype)
        for name in _STATED
        for dtype in _BYTES
    ),
    _family("memory_copy", "memory_copy", (LAUNCH, FILL, HBM, SHARE, CACHED), copied, "fp32"),
    _family("host_gather", "host_gather", (LAUNCH, HBM, SHARE, CACHED), gathered, "fp32"),
    _family("launch", "launch", (LAUNCH,), stated, "fp32"),
)

_NAMES = frozenset(family.name for family in FAMILIES)


def shaped_family(kernel: str, dtype: str) -> str:
    """The family of a kernel whose shape tells its work; empty where it has none in ``dtype``."""
    short = next((name for name, (long, *_) in _SHAPED.items() if long == kernel), kernel)
    return _known(f"roofline/{short}-{dtype}")


def stated_family(kernel: str, dtype: str, kv_dtype: str) -> str:
    """The family of a kernel whose rows state their work: one for each way to store the cache; empty if there is none.

    :param kv_dtype: ``"kivi2"``, ``"kivi4"``, ``"int4"``...; both KIVI formats are one kernel
    """
    if kernel in ("launch", "memory_copy", "host_gather"):
        return f"roofline/{kernel}"
    packed = f"decode_{kv_dtype.rstrip('24')}" if kv_dtype.startswith("kivi") else f"decode_{kv_dtype}"
    return _known(f"roofline/{packed if kernel == 'decode_attention' else kernel}-{dtype}")


def _known(name: str) -> str:
    return name if name in _NAMES else ""
