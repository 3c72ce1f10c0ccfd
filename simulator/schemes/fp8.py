"""FP8 cache with one scale per tensor, as serving engines offer it."""

from __future__ import annotations

from typing import ClassVar, Literal

from kvwall.simulator.cache import SIXTEEN_BITS, Bits, Tensor
from kvwall.simulator.number_format import NumberFormat


class Fp8(NumberFormat):
    """8-bit floats whose scale folds into the softmax; on latents the 656-byte row of sparse attention kernels.

    ``latent=scaled`` keeps 512 codes, one fp32 scale per 128 of them and the rotary key in 16 bits;
    ``latent=plain`` stores latent and rotary key at 8 bits with one scale per tensor.
    """

    name: ClassVar[str] = "fp8"
    title: ClassVar[str] = "8-bit floats, one scale per tensor"
    roles: ClassVar[frozenset[str]] = frozenset({"key", "value", "latent", "rope key"})
    equations: ClassVar[tuple[str, ...]] = (
        "stored = B n L 2 H_kv d 1 byte",
        "latent, scaled: n L (512 + 4 x 4 + 64 x 2) bytes = 656 n L",
    )
    reference: ClassVar[str] = "vLLM kv_cache_dtype=fp8; FlashMLA and vLLM fp8_ds_mla row layout"
    limits: ClassVar[tuple[str, ...]] = (
        "cards without fp8 matrix units convert every element",
        "checkpoints without scales use 1.0, a risk to quality",
    )

    latent: Literal["scaled", "plain"] = "scaled"

    def bits_of(self, tensor: Tensor) -> Bits:
        """8 bits; grouped scales only on a scaled latent, and no change to its rotary key."""
        if self.latent == "scaled" and tensor.role == "rope key":
            return SIXTEEN_BITS
        if self.latent == "scaled" and tensor.role == "latent":
            return Bits("fp8", 8.0, scale=32.0, group=128.0, dequantise_flops=2.0, unpack_flops=2.0)
        return Bits("fp8", 8.0, unpack_flops=8.0, native="fp8")
