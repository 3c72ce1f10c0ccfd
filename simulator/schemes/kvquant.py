"""KVQuant: codes into a non-uniform codebook, keys before their rotation, one percent of outliers apart."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import Bits, Cache, Tensor
from kvwall.simulator.number_format import NumberFormat
from kvwall.simulator.rotation import rotated_keys
from kvwall.simulator.scheme import forbid_latents
from kvwall.simulator.traffic import Operator, term
from kvwall.workloads.model_spec import ModelSpec


class Kvquant(NumberFormat):
    """Keys per channel and values per token as codes into 2^bits values, the part ``outliers`` of them kept in 16 bits.

    An outlier takes a 16-bit value and an index of ``index_bits`` (32 in the released code; 16 is what published sizes
    count), and a token 4 bytes of row pointer a layer, half of it with its keys. The first ``sinks`` tokens may stay in
    16 bits. Codebooks are of the model, fp32, found before serving. Dense and sparse parts run as kernels of their own.
    """

    name: ClassVar[str] = "kvquant"
    title: ClassVar[str] = "non-uniform codebooks, pre-rotation keys per channel, sparse outliers"
    equations: ClassVar[tuple[str, ...]] = (
        "stored = B n L [ 2 H_kv d (bits / 8 + outliers (2 + index_bits / 8)) + 4 ] bytes",
        "codebook of keys: L H_kv d 2^bits 4 bytes, once",
        "one look-up per code, 2 FLOP per outlier, 3 L H_kv d B n FLOP to rotate keys",
    )
    reference: ClassVar[str] = "Hooper et al. 2024, KVQuant, arXiv 2401.18079, and released deployment code"
    limits: ClassVar[tuple[str, ...]] = (
        "every step appends to sparse matrices; that and their launches dominate short contexts",
        "codebooks are calibrated for one model beforehand",
        "not on latents (MLA): they have no per-head channels",
    )

    bits: int = Field(4, ge=1, le=8)
    outliers: float = Field(0.01, ge=0, le=0.5)
    index_bits: int = Field(32, ge=8, le=64)
    sinks: int = Field(0, ge=0, le=1_000_000)

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values."""
        super().check(model)
        forbid_latents(self, model, "its latents have no per-head channels with codebooks of their own")

    def bits_of(self, tensor: Tensor) -> Bits:
        """Codes, the sparse part, and half a row pointer per token; a look-up takes a shift, a mask and a gather."""
        pointer = 16.0 if self.outliers else 0.0
        sparse = self.outliers * (16.0 + self.index_bits)
        return Bits(f"codebook of {self.bits} bits", float(self.bits), scale=pointer, group=tensor.elements,
                    dequantise_flops=2.0 * self.outliers, unpack_flops=6.0, sparse=sparse)  # fmt: skip

    @property
    def oldest(self) -> int:
        """The first ``sinks`` tokens."""
        return self.sinks

    def rewrite(self, cache: Cache) -> Cache:
        """Codes and outliers; keys are rotated in the kernel; the sparse products and appends are launched apart."""
        rewritten = super().rewrite(cache)
        keys = [(g, t) for g in rewritten.groups for t in g.tensors if t.role == "key"]
        # 32-bit entries are two parameters of 16 bits each.
        codebook = sum(group.layers * tensor.elements * 2.0**self.bits * 2.0 for group, tensor in keys)
        fused = (*rewritten.fused, *rotated_keys(rewritten, self.name, self.reference))
        operators = rewritten.operators
        if self.outliers and not cache.prefill:
            operators = (
                *operators,
                *((group.index, self._append(group.layers, tensor, cache)) for group, tensor in keys),
            )
        return replace(rewritten, fused=fused, operators=operators, extra_weights=rewritten.extra_weights + codebook)

    def _append(self, layers: float, keys: Tensor, cache: Cache) -> Operator:
        """Two sparse products and two appends a layer: their bytes are those of the cache, their launches are not."""
        compare = term(
            "find outliers", "vector", "2 * 2 * L * e * B * m", f"{self.reference}: two thresholds per element",
            compulsory=False, L=layers, e=keys.elements, B=np.asarray(cache.batch), m=cache.query_tokens,
        )  # fmt: skip
        return Operator(self.name, "append outliers", "elementwise", (compare,), 4.0 * layers)
