"""KIVI: keys quantised per channel, values per token, the newest tokens in 16 bits."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from kvwall.simulator.cache import Bits, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.number_format import NumberFormat, integer_bits
from kvwall.simulator.scheme import forbid_latents
from kvwall.simulator.traffic import Numeric, Operator, term
from kvwall.workloads.model_spec import ModelSpec


class Kivi(NumberFormat):
    """Asymmetric integers with two 16-bit numbers a group; keys keep ``n mod residual`` tokens, values ``residual``.

    ``kernel=public`` charges what the published code does: the codes, scales and minima of keys and values are
    transposed into a copy in every step, the residual is copied on the way to ordinary products, each query head
    unpacks the codes of its group again, scores are written out, and a prompt is quantised by unfused operators through
    a 32-bit copy of one layer's keys. ``append=concat`` grows the quantised values by copying them in every step; it is
    what the published code does and stands unless ``append`` says otherwise. A fused kernel writes in place.
    """

    name: ClassVar[str] = "kivi"
    title: ClassVar[str] = "asymmetric 2/4-bit: keys per channel, values per token, 16-bit residual window"
    equations: ClassVar[tuple[str, ...]] = (
        "b_eff = bits + 32 / group",
        "n_K = n - (n mod R),  n_V = max(0, n - R)",
        "stored = B L H_kv d [ (n_K + n_V) b_eff / 8 + ((n mod R) + min(n, R)) 2 ]",
        "kernel=public moves 3 K_q + 5 V_q + 6 residual (3 V_q and 4 residual with append=in_place), unpacks H_q / H_kv"
        " times, and quantises a prompt with 18 bytes per element",
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
    append: Literal["in_place", "concat"] | None = None

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

    @property
    def _concatenates(self) -> bool:
        """Whether a step copies what it appends to."""
        return self.append == "concat" or (self.append is None and self.kernel == "public")

    def rewrite(self, cache: Cache) -> Cache:
        """Quantised body and 16-bit windows, with the work of the published code if it is asked for."""
        made = super().rewrite(cache)
        made = replace(made, execution=replace(made.execution, own_appends=True))
        groups = [group for group in made.groups if any(tensor.role == "key" for tensor in group.tensors)]
        public = self.kernel == "public"
        if cache.prefill:
            work = [(g.index, self._quantise_prompt(g, cache)) for g in groups] if public else []
        else:
            work = [(g.index, self._copies(g, cache)) for g in groups] if public or self._concatenates else []
        made = replace(made, operators=(*made.operators, *work))
        if not public:
            return made
        # A prompt's keys of one layer pass through 32-bit integers before they are packed.
        staged = max((4.0 * group.kv_heads * group.head_dim for group in groups), default=0.0)
        made = replace(made, workspace=made.workspace + staged * cache.prompt)
        return made.map_tensors(self._unpacked_by_every_head, frozenset({"key", "value"}))

    @staticmethod
    def _unpacked_by_every_head(group: CacheGroup, tensor: Tensor) -> Tensor:
        """A block of the published kernel serves one query head, so codes are unpacked once for each of them."""
        times = group.q_heads / group.kv_heads

        def again(segment: Segment) -> Segment:
            bits = segment.bits
            unpack = bits.unpack_flops * times + bits.dequantise_flops * (times - 1)
            return replace(segment, bits=replace(bits, unpack_flops=unpack))

        return tensor.map(again)

    def _copies(self, group: CacheGroup, cache: Cache) -> Operator:
        """Copies of one step beyond what attention reads: transposed codes, appended codes, residual, scores."""
        transposed = 2.0 if self.kernel == "public" else 0.0
        appended = 2.0 if self._concatenates else 0.0
        residual = (3.0 if self.kernel == "public" else 0.0) + appended
        terms = []
        for tensor in (t for t in group.tensors if t.role in {"key", "value"}):
            codes = transposed + (appended if tensor.role == "value" else 0.0)
            for segment in tensor.segments:
                times = residual if segment.label == "window" else codes
                terms.append(
                    term(f"copy {tensor.role} ({segment.label})", "hbm", "x * L * e * b / 8 * B * n", self.reference,
                         compulsory=False, x=times, L=group.layers, e=tensor.elements, b=segment.bits.effective,
                         B=cache.batch, n=segment.stored)
                )  # fmt: skip
        if self.kernel == "public":
            terms.append(
                term("write out scores", "hbm", "12 * L * H * B * n", f"{self.reference}: 16 bits and an fp32 softmax",
                     compulsory=False, L=group.layers, H=group.q_heads, B=cache.batch, n=group.attended)
            )  # fmt: skip
        launches = (26.0 if self.kernel == "public" else 2.0) * group.layers
        return Operator(self.name, "copy and append codes", "elementwise", tuple(terms), launches)

    def _quantise_prompt(self, group: CacheGroup, cache: Cache) -> Operator:
        """Read for minima, five elementwise passes in 16 bits, and a 32-bit copy written and read: 18 bytes."""
        moved = term(
            "quantise the prompt", "hbm", "18 * L * e * B * m", self.reference, compulsory=False, L=group.layers,
            e=group.kv_heads * (group.head_dim + group.value_dim), B=cache.batch, m=cache.query_tokens,
        )  # fmt: skip
        return Operator(self.name, "quantise the prompt", "elementwise", (moved,), 16.0 * group.layers)
