"""KIVI: keys quantised per channel, values per token, the newest tokens in 16 bits."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from kvwall.simulator.cache import Bits, Cache, Tensor
from kvwall.simulator.number_format import NumberFormat, integer_bits
from kvwall.simulator.scheme import forbid_latents
from kvwall.simulator.traffic import Numeric, Operator, term
from kvwall.workloads.model_spec import ModelSpec


class Kivi(NumberFormat):
    """Asymmetric integers with two 16-bit numbers a group; keys keep ``n mod residual`` tokens, values ``residual``.

    ``kernel=public`` charges what the published kernel moves: it re-packs the codes every step and appends values by
    copying, about three times the keys' and five times the values' quantised bytes.
    """

    name: ClassVar[str] = "kivi"
    title: ClassVar[str] = "asymmetric 2/4-bit: keys per channel, values per token, 16-bit residual window"
    equations: ClassVar[tuple[str, ...]] = (
        "b_eff = bits + 32 / group",
        "n_K = n - (n mod R),  n_V = max(0, n - R)",
        "stored = B L H_kv d [ (n_K + n_V) b_eff / 8 + ((n mod R) + min(n, R)) 2 ]",
    )
    reference: ClassVar[str] = "Liu et al. 2024, KIVI, arXiv 2402.02750, section 3 and released code"
    limits: ClassVar[tuple[str, ...]] = (
        "not on latents (MLA): they have no per-head channels",
        "contexts below the residual window are not compressed at all",
        "the authors advise 4 bits for grouped-query models",
    )

    bits: Literal["2", "4", "8", 2, 4, 8] = 2
    group: int = Field(32, ge=8, le=1024)
    residual: int = Field(128, ge=0, le=1_000_000)
    kernel: Literal["fused", "public"] = "fused"

    @model_validator(mode="after")
    def _check_residual(self) -> Kivi:
        if self.residual % self.group:
            raise ValueError(f"residual {self.residual} is not a multiple of group {self.group}")
        return self

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values."""
        super().check(model)
        forbid_latents(self, model, "its latents have no per-head channels to group")

    def bits_of(self, tensor: Tensor) -> Bits:
        """Codes with a 16-bit scale and minimum per group; the unpacking estimate is of the published kernel."""
        base = integer_bits(float(self.bits), self.group, 16.0, 16.0)
        return replace(base, unpack_flops=16.0)

    def window_of(self, tensor: Tensor, stored: Numeric) -> Numeric | None:
        """Keys are flushed in blocks of ``residual``; values leave the window one by one."""
        if not self.residual:
            return None
        return np.minimum(stored, self.residual) if tensor.role == "value" else np.mod(stored, self.residual)

    def rewrite(self, cache: Cache) -> Cache:
        """Quantised body and 16-bit windows, with the copies of the published kernel if it is asked for."""
        rewritten = super().rewrite(cache)
        if self.kernel == "fused" or cache.prefill:
            return rewritten
        copies = []
        for group in rewritten.groups:
            for tensor, times in ((t, 4.0 if t.role == "value" else 2.0) for t in group.tensors):
                for segment in tensor.segments:
                    if segment.label != "tokens" or tensor.role not in self.roles:
                        continue
                    repack = term(
                        f"re-pack {tensor.role}s",
                        "hbm",
                        "x * L * e * b / 8 * B * n",
                        self.reference,
                        compulsory=False,
                        x=times,
                        L=group.layers,
                        e=tensor.elements,
                        b=segment.bits.effective,
                        B=cache.batch,
                        n=segment.stored,
                    )
                    operator = Operator("kivi", "re-pack codes", "elementwise", (repack,), launches=10 * group.layers)
                    copies.append((group.index, operator))
        return replace(rewritten, operators=(*rewritten.operators, *copies))
