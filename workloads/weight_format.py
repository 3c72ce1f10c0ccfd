"""Weight formats: true bits per weight with all metadata, and which tensors stay in 16 bits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kvwall.hardware.device import Dtype
from kvwall.hardware.document import Document
from kvwall.hardware.library import Library

TensorClass = Literal["attention", "feed_forward", "experts", "router", "embedding", "lm_head", "norms", "state"]


class WeightFormat(Document):
    """How a checkpoint stores its weights, and in which dtype a product with them runs.

    :ivar bits_per_weight: of a compressed tensor, scales, zeros and alignment included
    :ivar sixteen_bit: tensor classes that stay in 16 bits
    :ivar compute_dtype: dtype of the product when the device has a unit for it
    :ivar unpack_ops_per_weight: vector operations to bring one stored weight into the product (0 when native)
    :ivar loaded_over_arithmetic: loaded bytes over arithmetic bytes, seen in engines' own logs
    """

    name: str
    aliases: tuple[str, ...] = ()
    bits_per_weight: float = Field(gt=0, le=64)
    payload_bits: float = Field(gt=0, le=64)
    group_size: int | None = None
    sixteen_bit: tuple[TensorClass, ...] = ("embedding", "lm_head", "router", "norms", "state")
    overrides: dict[TensorClass, float] = Field(default_factory=dict, description="other bits of some classes")
    compute_dtype: Dtype
    activations: Literal["16 bit", "quantised"] = "16 bit"
    unpack_ops_per_weight: float = Field(0, ge=0, le=64)
    loaded_over_arithmetic: float = Field(1.0, ge=1, le=2)
    source: str
    notes: tuple[str, ...] = ()

    def bits(self, tensor: TensorClass) -> float:
        """Stored bits per weight of a tensor of class ``tensor``."""
        if tensor in self.overrides:
            return self.overrides[tensor]
        return max(self.bits_per_weight, 16.0) if tensor in self.sixteen_bit else self.bits_per_weight


WEIGHTS = Library("kvwall.workloads", "weights", "weight format", WeightFormat)
