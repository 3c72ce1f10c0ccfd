"""INT4 cache with a scale per token and head."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from kvwall.simulator.cache import Bits, Tensor
from kvwall.simulator.number_format import NumberFormat, integer_bits


class Int4(NumberFormat):
    """4-bit integers; each token and head carries ``scale_bits`` of scale (and zero) for keys and for values."""

    name: ClassVar[str] = "int4"
    title: ClassVar[str] = "4-bit integers, one scale per token and head"
    equations: ClassVar[tuple[str, ...]] = ("stored = B n L 2 H_kv (d / 2 + scale_bits / 8) bytes",)
    reference: ClassVar[str] = "vLLM kv_cache_dtype=int4_per_token_head (68 bytes for a head of 128)"

    scale_bits: float = Field(32, ge=0, le=256)

    def bits_of(self, tensor: Tensor) -> Bits:
        """4 bits and a scale shared by one head's channels."""
        return integer_bits(4.0, tensor.channels, self.scale_bits, 0.0)
