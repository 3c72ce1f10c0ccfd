"""FP32 cache, as research code keeps it that runs a model in the precision of its training."""

from __future__ import annotations

from typing import ClassVar

from kvwall.simulator.cache import Bits, Tensor
from kvwall.simulator.number_format import NumberFormat


class Fp32(NumberFormat):
    """32-bit floats: twice the bytes of the 16-bit cache that engines keep. It saves nothing.

    Papers that ran their baselines in single precision are compared with it.
    """

    name: ClassVar[str] = "fp32"
    title: ClassVar[str] = "32-bit floats, as research code keeps them"
    roles: ClassVar[frozenset[str]] = frozenset({"key", "value", "latent", "rope key"})
    equations: ClassVar[tuple[str, ...]] = ("stored = B n L 2 H_kv d 4 bytes",)
    reference: ClassVar[str] = "IEEE 754 binary32; transformers, torch_dtype left at its default"
    limits: ClassVar[tuple[str, ...]] = ("no kernel of a serving engine reads it",)

    def bits_of(self, tensor: Tensor) -> Bits:
        """32 bits."""
        return Bits("fp32", 32.0)
