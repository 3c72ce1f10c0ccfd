"""A call: a kernel of known shape that an operator starts, so that a calibrated model can price it."""

from __future__ import annotations

from dataclasses import dataclass

from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.traffic import Numeric


@dataclass(frozen=True, slots=True)
class KernelCall:
    """``count`` alike kernels of one step on one rank.

    :ivar kernel: decode_attention, prefill_attention, mla_decode, mla_prefill or gemm
    :ivar dtype: format of activations and weights, e.g. ``"bf16"``, ``"fp8"``, ``"fp8_block"``
    :ivar kv_dtype: format of the cache
    :ivar points: shapes; columns broadcast over batch and context
    :ivar count: kernels per step, one per layer and pass
    """

    kernel: str
    dtype: str
    kv_dtype: str
    points: Points
    count: Numeric
