"""Atom's cache: INT4 with a scale and a zero per token and head, keys stored before their rotation."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from kvwall.simulator.cache import Bits, Cache, Tensor
from kvwall.simulator.number_format import NumberFormat, integer_bits
from kvwall.simulator.rotation import rotated_keys
from kvwall.simulator.scheme import forbid_latents
from kvwall.workloads.model_spec import ModelSpec


class Atom(NumberFormat):
    """4-bit integers with a 16-bit scale and zero point for each token and head, written by the projections themselves.

    Keys are quantised before the rotary embedding, so that every step rotates every cached key again. The weight
    format ``atom-w4a4`` is the other half of the system.
    """

    name: ClassVar[str] = "atom"
    title: ClassVar[str] = "INT4 per token and head; cached keys are rotated at every step"
    equations: ClassVar[tuple[str, ...]] = (
        "stored = read = B n L 2 H_kv (d / 2 + 4) bytes",
        "2 FLOP per cached element to scale it, 3 L H_kv d B n FLOP to rotate keys",
    )
    reference: ClassVar[str] = (
        "Zhao et al. 2023, Atom, arXiv 2310.19102, and released kernels (kvcache.py, quantization.cuh)"
    )
    limits: ClassVar[tuple[str, ...]] = (
        "the gain in throughput is almost all a larger batch",
        "released kernels are for heads of 128 channels, and for multi-head attention alone",
        "the work of the rotation grows with the context at every step",
        "not on latents (MLA)",
    )

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values."""
        super().check(model)
        forbid_latents(self, model, "its latents have no heads to scale")

    def bits_of(self, tensor: Tensor) -> Bits:
        """4 bits, and 32 bits shared by the channels of one head."""
        return integer_bits(4.0, tensor.channels, 16.0, 16.0)

    def rewrite(self, cache: Cache) -> Cache:
        """Codes, and the rotation inside the attention kernel."""
        rewritten = super().rewrite(cache)
        return replace(rewritten, fused=(*rewritten.fused, *rotated_keys(rewritten, self.name, self.reference)))
