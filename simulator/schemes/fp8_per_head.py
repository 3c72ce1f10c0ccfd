"""FP8 cache with a scale per token and head."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from kvwall.simulator.cache import Bits, Tensor
from kvwall.simulator.number_format import NumberFormat


class Fp8PerHead(NumberFormat):
    """8-bit floats; each token and head carries ``scale_bits`` of scale for its keys and for its values."""

    name: ClassVar[str] = "fp8_per_head"
    title: ClassVar[str] = "8-bit floats, one scale per token and head"
    equations: ClassVar[tuple[str, ...]] = ("stored = B n L 2 H_kv (d + scale_bits / 8) bytes",)
    reference: ClassVar[str] = "vLLM kv_cache_dtype=fp8_per_token_head"

    scale_bits: float = Field(32, ge=0, le=256)

    def bits_of(self, tensor: Tensor) -> Bits:
        """8 bits and a scale shared by one head's channels."""
        return Bits("fp8", 8.0, self.scale_bits, 0.0, tensor.channels, dequantise_flops=2.0, unpack_flops=2.0)
