"""NVFP4 cache: 4-bit floats with an 8-bit scale per 16 elements."""

from __future__ import annotations

from typing import ClassVar

from kvwall.simulator.cache import Bits, Tensor
from kvwall.simulator.number_format import NumberFormat


class Nvfp4(NumberFormat):
    """4-bit floats in blocks of 16 that share an e4m3 scale: 4.5 bits per element."""

    name: ClassVar[str] = "nvfp4"
    title: ClassVar[str] = "4-bit floats, an 8-bit scale per 16 elements (4.5 bits)"
    equations: ClassVar[tuple[str, ...]] = ("stored = B n L 2 H_kv (d / 2 + d / 16) bytes",)
    reference: ClassVar[str] = "NVIDIA NVFP4 block format; vLLM kv_cache_dtype=nvfp4"

    def bits_of(self, tensor: Tensor) -> Bits:
        """4.5 bits; attention runs on converted elements, since no attention kernel multiplies fp4 keys."""
        return Bits("nvfp4", 4.0, 8.0, 0.0, 16.0, dequantise_flops=2.0, unpack_flops=4.0)
