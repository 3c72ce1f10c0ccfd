"""Weight formats: true bits per weight with all metadata, and which tensors stay in 16 bits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from kvwall.hardware.device import Device
from kvwall.hardware.document import Document
from kvwall.hardware.dtype import Dtype
from kvwall.hardware.errors import ForbiddenError
from kvwall.hardware.library import Library

TensorClass = Literal["attention", "feed_forward", "experts", "router", "embedding", "lm_head", "norms", "state"]


class WeightFormat(Document):
    """How a checkpoint stores its weights, and in which dtype a product with them runs.

    ``unpack_ops_per_weight`` counts like the vector peak of a device: one instruction on one lane is 2, as an FMA is.

    :ivar bits_per_weight: of a compressed tensor, scales, zeros and alignment included
    :ivar payload_bits: of one weight alone, without its share of the metadata
    :ivar group_size: weights that share one scale; ``None`` for a scale per tensor or channel
    :ivar sixteen_bit: tensor classes that stay in 16 bits
    :ivar overrides: other bits per weight of some classes (mixtures)
    :ivar compute_dtype: dtype of the product when the device has a unit for it
    :ivar fallback_dtype: dtype of the product on a device without that unit
    :ivar unpack_ops_per_weight: vector work to bring one stored weight into the product, on every device
    :ivar fallback_unpack_ops_per_weight: the same where the product runs in ``fallback_dtype``
    :ivar lookup_ops: vector work per weight and token of table look-ups that stand for the product (0: it multiplies)
    :ivar runs_on: the only kind of device that has kernels for the format
    :ivar loaded_over_arithmetic: loaded bytes over arithmetic bytes, seen in engines' own logs
    :ivar loaded_over_arithmetic_high: the largest of them seen, when logs differ
    """

    name: str
    aliases: tuple[str, ...] = ()
    bits_per_weight: float = Field(gt=0, le=64)
    payload_bits: float = Field(gt=0, le=64)
    group_size: int | None = Field(None, ge=1, le=65536)
    sixteen_bit: tuple[TensorClass, ...] = ("embedding", "lm_head", "router", "norms", "state")
    overrides: dict[TensorClass, float] = Field(default_factory=dict, description="other bits of some classes")
    compute_dtype: Dtype
    fallback_dtype: Dtype = "bf16"
    activations: Literal["16 bit", "quantised"] = "16 bit"
    unpack_ops_per_weight: float = Field(0, ge=0, le=64)
    fallback_unpack_ops_per_weight: float | None = Field(None, ge=0, le=64)
    lookup_ops: float = Field(0, ge=0, le=64)
    runs_on: Literal["any device", "processor", "bit-serial accelerator"] = "any device"
    loaded_over_arithmetic: float = Field(1.0, ge=1, le=2)
    loaded_over_arithmetic_high: float | None = Field(None, ge=1, le=2)
    source: str
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> WeightFormat:
        if self.payload_bits > self.bits_per_weight:
            raise ValueError(f"payload_bits {self.payload_bits:g} exceeds bits_per_weight {self.bits_per_weight:g}")
        both = sorted(set(self.sixteen_bit) & set(self.overrides))
        if both:
            raise ValueError(f"{both[0]!r} stands both in sixteen_bit and in overrides")
        for tensor, bits in self.overrides.items():
            if not 0 < bits <= 64:
                raise ValueError(f"overrides.{tensor} is {bits:g}, allowed is above 0 to 64 bits")
        if self.loaded_high < self.loaded_over_arithmetic:
            raise ValueError("loaded_over_arithmetic_high is below loaded_over_arithmetic")
        return self

    @property
    def loaded_high(self) -> float:
        """Upper end of loaded over arithmetic bytes; the lower end is always 1."""
        return self.loaded_over_arithmetic_high or self.loaded_over_arithmetic

    def bits(self, tensor: TensorClass) -> float:
        """Stored bits per weight of a tensor of class ``tensor``."""
        if tensor in self.overrides:
            return self.overrides[tensor]
        return max(self.bits_per_weight, 16.0) if tensor in self.sixteen_bit else self.bits_per_weight

    def check(self, device: Device) -> None:
        """Refuse a device that has no kernels for the format.

        :raises ForbiddenError: with what it needs
        """
        fits = {
            "any device": True,
            "processor": device.form.endswith("socket"),
            "bit-serial accelerator": device.form == "bit-serial accelerator",
        }
        if not fits[self.runs_on]:
            raise ForbiddenError(f"weights {self.name!r} need a {self.runs_on}: {device.name} is none")

    def product_dtype(self, has_unit: bool) -> Dtype:
        """Dtype of a product with these weights on a device that has (or lacks) a ``compute_dtype`` unit."""
        return self.compute_dtype if has_unit else self.fallback_dtype

    def unpack_ops(self, has_unit: bool) -> float:
        """Vector work per stored weight on a device that has (or lacks) a ``compute_dtype`` unit."""
        fallback = self.fallback_unpack_ops_per_weight
        return self.unpack_ops_per_weight if has_unit or fallback is None else fallback


WEIGHTS = Library("kvwall.workloads", "weights", "weight format", WeightFormat)
