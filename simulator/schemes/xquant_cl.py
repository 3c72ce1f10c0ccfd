"""XQuant-CL: cache the quantised difference between the inputs of neighbouring layers, and add them up in each step."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from kvwall.simulator.cache import Cache, CacheGroup
from kvwall.simulator.schemes.xquant import XQuant, kv_width
from kvwall.simulator.traffic import Numeric, Symbols, Term, term


class XQuantCL(XQuant):
    """As ``xquant``, with differences at ``bits`` after the first ``first`` layers, which hold inputs at 4 bits.

    A step carries the running sum of every cached token from layer to layer: ``accumulator_bits`` a channel (with a
    scale and a zero point per ``group``), read and written once a layer. With grouped queries the difference is cached
    in the joint basis ``U`` of both projections, brought back to the width of the input, added, and projected again.
    Defaults of the paper's table 4: 2 bits, 3 layers at 4 bits, a 4-bit sum, groups of 128.
    """

    name: ClassVar[str] = "xquant_cl"
    title: ClassVar[str] = "quantised differences between layer inputs, summed over the layers in every step"
    equations: ClassVar[tuple[str, ...]] = (
        "stored = B n x [ first (4 + 32 / group) + (L - first) (bits + 32 / group) ] / 8 bytes, x = D or w",
        "sum: B n D (accumulator_bits + 32 / group) / 8 read and written in each of L - first layers",
        "compute again: D <= w: 2 L D w B n FLOP; else 4 L D w B n",
        "weights: D w more parameters a layer where D > w",
        "workspace: one sum a sequence, n D (accumulator_bits + 32 / group) / 8 bytes",
    )
    reference: ClassVar[str] = "Tomar et al. 2025, XQuant, arXiv 2508.10395, sections 3.3 and 4.2"
    limits: ClassVar[tuple[str, ...]] = (
        "with grouped queries a step moves more bytes than a plain 16-bit cache: capacity is all that is won",
        "a token needs the differences of all lower layers, so layers cannot be read apart",
        *XQuant.limits,
    )

    bits: Literal["2", "3", "4", "8", 2, 3, 4, 8] = 2
    first: int = Field(3, ge=1, le=10_000)
    accumulator_bits: float = Field(4.0, ge=1, le=16)

    def _extra_parameters(self, group: CacheGroup) -> float:
        return 0.0 if self._keeps_input(group) else float(group.hidden_size * kv_width(group))

    def _flops_per_token(self, group: CacheGroup) -> float:
        project = 2.0 * group.hidden_size * kv_width(group)
        return project if self._keeps_input(group) else 2.0 * project

    def _terms(self, group: CacheGroup, cache: Cache, wide: float) -> tuple[Term, ...]:
        add: Symbols = {"f": 1.0 - wide, "D": group.hidden_size, "B": cache.batch}
        moved = "f * D * b / 8 * B"
        return (
            *super()._terms(group, cache, wide),
            term("read the running sum", "hbm", moved, self.reference, b=self._sum_bits, **add),
            term("write the running sum", "hbm", moved, self.reference, b=self._sum_bits, **add),
            term("add differences", "vector", "2 * f * D * B", self.reference, **add),
        )

    @property
    def _sum_bits(self) -> float:
        """Bits of one channel of the sum, scales included; 16 bits need none."""
        return self.accumulator_bits + (32.0 / self.group if self.accumulator_bits < 16 else 0.0)

    def _workspace(self, cache: Cache) -> Numeric:
        widest = max(group.hidden_size for group in cache.groups)
        return super()._workspace(cache) + widest * self._sum_bits / 8 * cache.context
