"""Grouped integers with free bits, groups, metadata, windows, outliers and exempt layers, keys and values apart."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import SIXTEEN_BITS, Bits, Cache, CacheGroup, Tensor
from kvwall.simulator.number_format import NumberFormat, integer_bits
from kvwall.simulator.traffic import Numeric

#: An outlier is a 16-bit value with an index of this many bits.
_INDEX_BITS = 16.0


class Quantize(NumberFormat):
    """Every element in ``bits`` bits, each ``group`` of elements with a scale and a zero point.

    The first ``sinks`` and the last ``window`` tokens, ``exempt_layers`` of the layers and the part ``outliers`` of the
    elements stay in 16 bits; an outlier has a code all the same, and a 16-bit index.
    """

    name: ClassVar[str] = "quantize"
    title: ClassVar[str] = "grouped integers: any bits, group, metadata and 16-bit windows, K and V apart"
    equations: ClassVar[tuple[str, ...]] = (
        "b_eff = bits + (scale_bits + zero_bits) / group + outliers (16 + 16)",
        "stored = B (L - exempt) [ (n - w) 2 H_kv d b_eff / 8 + w 2 H_kv d 2 ] + B exempt n 2 H_kv d 2",
        "w = min(n, sinks + window)",
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
    sinks: int = Field(0, ge=0, le=1_000_000_000)
    outliers: float = Field(0, ge=0, le=1, description="part of the elements kept in 16 bits with a 16-bit index")
    exempt_layers: int = Field(0, ge=0, le=10_000, description="layers that stay in 16 bits")

    def bits_of(self, tensor: Tensor) -> Bits:
        """Integers of the tensor's own width, with the outliers as a sparse matrix."""
        own = self.v_bits if tensor.role == "value" else self.k_bits
        made = integer_bits(self.bits if own is None else own, self.group, self.scale_bits, self.zero_bits)
        if made == SIXTEEN_BITS or not self.outliers:
            return made
        # An outlier meets the product once more: a multiply-add of its own.
        flops = made.dequantise_flops + 2.0 * self.outliers
        return replace(made, sparse=self.outliers * (16.0 + _INDEX_BITS), dequantise_flops=flops)

    def window_of(self, tensor: Tensor, stored: Numeric) -> Numeric | None:
        """The last ``window`` tokens."""
        return np.minimum(stored, self.window) if self.window else None

    @property
    def oldest(self) -> int:
        """The first ``sinks`` tokens."""
        return self.sinks

    def rewrite(self, cache: Cache) -> Cache:
        """Quantised, but for the exempt layers, of which every kind of layer has its part."""
        if not self.exempt_layers:
            return super().rewrite(cache)
        part = min(1.0, self.exempt_layers / sum(group.layers for group in cache.groups))
        quantised = super().rewrite(cache)

        def parts(group: CacheGroup, narrow: CacheGroup) -> tuple[CacheGroup, ...]:
            wide = replace(group, layers=group.layers * part)
            return (wide, replace(narrow, layers=group.layers * (1 - part))) if part < 1 else (wide,)

        pairs = zip(cache.groups, quantised.groups, strict=True)
        return replace(quantised, groups=tuple(made for pair in pairs for made in parts(*pair)))
