"""INT8 cache with a scale per token and head."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from kvwall.simulator.cache import Bits, Tensor
from kvwall.simulator.number_format import NumberFormat, integer_bits


class Int8(NumberFormat):
    """8-bit integers; each token and head carries ``scale_bits`` of scale for its keys and for its values."""

    name: ClassVar[str] = "int8"
    title: ClassVar[str] = "8-bit integers, one scale per token and head"
    equations: ClassVar[tuple[str, ...]] = ("stored = B n L 2 H_kv (d + scale_bits / 8) bytes",)
    reference: ClassVar[str] = "vLLM kv_cache_dtype=int8_per_token_head"

    scale_bits: float = Field(32, ge=0, le=256)

    def bits_of(self, tensor: Tensor) -> Bits:
        """8 bits and a scale shared by one head's channels."""
        return replace(integer_bits(8.0, tensor.channels, self.scale_bits, 0.0), name="int8")
