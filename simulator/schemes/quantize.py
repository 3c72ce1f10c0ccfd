"""Grouped integer quantisation with free bits, groups, metadata and window, keys and values apart."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import Bits, Tensor
from kvwall.simulator.number_format import NumberFormat, integer_bits
from kvwall.simulator.traffic import Numeric


class Quantize(NumberFormat):
    """Every element in ``bits`` bits, each ``group`` of elements with a scale and a zero point."""

    name: ClassVar[str] = "quantize"
    title: ClassVar[str] = "grouped integers: any bits, group, metadata and 16-bit window, K and V apart"
    equations: ClassVar[tuple[str, ...]] = (
        "b_eff = bits + (scale_bits + zero_bits) / group",
        "stored = B L [ (n - w) 2 H_kv d b_eff / 8 + w 2 H_kv d 2 ],  w = min(n, window)",
    )
    reference: ClassVar[str] = "definition of grouped asymmetric quantisation, e.g. Sheng et al. 2023, arXiv 2303.06865"
    limits: ClassVar[tuple[str, ...]] = ("without a fused kernel the dequantised copy costs more than 16 bits",)

    bits: float = Field(4, ge=1, le=16)
    k_bits: float | None = Field(None, ge=1, le=16)
    v_bits: float | None = Field(None, ge=1, le=16)
    group: int = Field(32, ge=1, le=65536)
    scale_bits: float = Field(16, ge=0, le=64)
    zero_bits: float = Field(16, ge=0, le=64)
    window: int = Field(0, ge=0, le=1_000_000_000)

    def bits_of(self, tensor: Tensor) -> Bits:
        """Integers of the tensor's own width."""
        own = self.v_bits if tensor.role == "value" else self.k_bits
        return integer_bits(self.bits if own is None else own, self.group, self.scale_bits, self.zero_bits)

    def window_of(self, tensor: Tensor, stored: Numeric) -> Numeric | None:
        """The last ``window`` tokens."""
        return np.minimum(stored, self.window) if self.window else None
