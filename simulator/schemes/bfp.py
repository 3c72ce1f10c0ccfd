"""Block floating point with channel rearrangement (K-sort): mantissas that share the exponent of their block."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.cache import Bits, Tensor
from kvwall.simulator.number_format import NumberFormat, integer_bits
from kvwall.simulator.scheme import forbid_latents
from kvwall.workloads.model_spec import HeadAttention, ModelSpec


class Bfp(NumberFormat):
    """Mantissas of ``k_mantissa`` and ``v_mantissa`` bits; each ``block`` channels of a head share an 8-bit exponent.

    BFP12 is a mantissa of 4 bits, BFP16 one of 8. By default keys are BFP12 and values BFP16, in blocks of 32. Sorting
    the rows of the key projection by norm before serving, and those of the query projection alike, makes outliers share
    their blocks and costs no run time. ``unit=hardware`` multiplies blocks as they are, as the paper's accelerator
    does; ``software`` converts every mantissa on the vector unit.
    """

    name: ClassVar[str] = "bfp"
    title: ClassVar[str] = "block floating point, key channels sorted by norm (BFP12 keys)"
    equations: ClassVar[tuple[str, ...]] = (
        "b_eff = mantissa + 8 / block",
        "stored = read = B n L H_kv d (b_eff,K + b_eff,V) / 8 bytes",
    )
    reference: ClassVar[str] = (
        "Trukhanov and Soloveychik 2024, Accurate Block Quantization in LLMs with Outliers, arXiv 2403.20137"
    )
    limits: ClassVar[tuple[str, ...]] = (
        "the published factor of two is against keys in BFP16, not in 16-bit floats, and of keys alone",
        "blocks of 128 gain nothing by sorting",
        "not on latents (MLA): they have no per-head outlier channels",
    )

    k_mantissa: int = Field(4, ge=2, le=15)
    v_mantissa: int = Field(8, ge=2, le=15)
    block: int = Field(32, ge=2, le=1024)
    unit: Literal["hardware", "software"] = "hardware"

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values whose heads are whole blocks."""
        super().check(model)
        forbid_latents(self, model, "its latents have no per-head channels to sort")
        for group in (g for g in model.attention if isinstance(g, HeadAttention)):
            if group.head_dim % self.block or group.value_dim % self.block:
                raise ForbiddenError(
                    f"scheme {self.name!r} does not apply to {model.name}: a block of {self.block} channels does not"
                    f" divide a head of {group.head_dim}"
                )

    def bits_of(self, tensor: Tensor) -> Bits:
        """Mantissas and a share of the exponent; a block's exponent is one product per block of a dot product."""
        mantissa = float(self.v_mantissa if tensor.role == "value" else self.k_mantissa)
        if self.unit == "hardware":
            return Bits(f"BFP{mantissa + 8:g}", mantissa, 8.0, 0.0, float(self.block))
        return integer_bits(mantissa, float(self.block), 8.0, 0.0)
