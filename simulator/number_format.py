"""Schemes that store cached elements in fewer bits: one base, of which each format is a few lines."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

from kvwall.simulator.cache import SIXTEEN_BITS, Axis, Bits, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.simulator.segments import split_newest, split_oldest
from kvwall.simulator.traffic import Numeric
from kvwall.workloads.model_spec import ModelSpec

#: The rotary key of a latent cache stays in 16 bits: it is 1/9 of the row and the products are sensitive to it.
QUANTISED_ROLES: frozenset[str] = frozenset({"key", "value", "latent"})


class NumberFormat(Scheme):
    """Base of the schemes that only change the bits of what is cached."""

    axes: ClassVar[frozenset[Axis]] = frozenset({"bits"})
    roles: ClassVar[frozenset[str]] = QUANTISED_ROLES

    @abstractmethod
    def bits_of(self, tensor: Tensor) -> Bits:
        """The number format of the elements of ``tensor``."""

    def window_of(self, tensor: Tensor, stored: Numeric) -> Numeric | None:
        """Newest tokens of a segment of ``stored`` tokens that stay in 16 bits; ``None`` where there is no window."""
        return None

    @property
    def oldest(self) -> int:
        """Oldest tokens of a sequence that stay in 16 bits."""
        return 0

    def check(self, model: ModelSpec) -> None:
        """Any architecture that caches tokens."""
        forbid_no_tokens(self, model)

    def rewrite(self, cache: Cache) -> Cache:
        """The cache with its content in this format, but for the windows that stay in 16 bits."""

        def change(group: CacheGroup, tensor: Tensor) -> Tensor:
            bits = self.bits_of(tensor)
            if bits == SIXTEEN_BITS:
                return tensor

            def quantise(segment: Segment) -> tuple[Segment, ...]:
                sinks, rest = split_oldest(segment, self.oldest, "sinks")
                window = self.window_of(tensor, rest.stored)
                first = (sinks,) if self.oldest else ()
                if window is None:
                    return (*first, replace(rest, bits=bits))
                older, newest = split_newest(rest, window, "window")
                return (*first, replace(older, bits=bits), newest)

            return tensor.map(quantise)

        return cache.map_tensors(change, self.roles)


def integer_bits(payload: float, group: float, scale: float, zero: float) -> Bits:
    """Grouped integers; 16 bits or more mean that nothing is quantised.

    Bringing one code into a product costs a fused multiply-add, and a shift, a mask and a conversion (at a quarter of
    the vector rate) that packed formats pay on top. Below 8 bits that is 8 FLOP of vector time, at 8 bits 4 (estimates
    from the instruction mix of packed integer kernels).
    """
    if payload >= 16:
        return SIXTEEN_BITS
    unpack = 4.0 if payload >= 8 else 8.0
    return Bits(f"int{payload:g}", payload, scale, zero, group, dequantise_flops=2.0, unpack_flops=unpack)
