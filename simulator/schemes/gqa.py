"""Grouped-query attention: several query heads share one key and value head."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.cache import Axis
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.workloads.model_spec import HeadAttention, ModelSpec


class Gqa(Scheme):
    """The model converted to at most ``kv_heads`` key and value heads (by mean pooling and a little training).

    1 is multi-query attention. Default 8, the paper's GQA-8. Layers that have no more heads stay as they are. What is
    cached, read and projected shrinks with the heads; the products of scores and weighted sums do not. A rank of tensor
    parallelism keeps ``ceil(kv_heads / t)`` heads, so beyond ``kv_heads`` ranks they are replicated.
    """

    name: ClassVar[str] = "gqa"
    title: ClassVar[str] = "fewer key and value heads, each for a group of query heads"
    axes: ClassVar[frozenset[Axis]] = frozenset({"shape"})
    equations: ClassVar[tuple[str, ...]] = (
        "stored = B n L 2 kv_heads d 2 bytes",
        "on a rank of t: ceil(kv_heads / t) heads",
        "weights: 2 D (H_kv - kv_heads) d fewer parameters a layer",
        "FLOP per byte read of decode attention: H_q / kv_heads at 16 bits",
    )
    reference: ClassVar[str] = "Ainslie et al. 2023, GQA, arXiv 2305.13245; Shazeer 2019, arXiv 1911.02150 (one head)"
    limits: ClassVar[tuple[str, ...]] = (
        "an architecture, not a switch: a checkpoint is converted and trained for a while (5 % of pre-training)",
        "the number of query heads must be a multiple of kv_heads",
    )

    kv_heads: int = Field(8, ge=1, le=100_000)

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values whose query heads fall into equal groups."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "all its heads share one latent already")
        for group in model.attention:
            if isinstance(group, HeadAttention) and group.kv_heads > self.kv_heads and group.q_heads % self.kv_heads:
                fitting = [heads for heads in range(1, group.kv_heads + 1) if group.q_heads % heads == 0]
                raise ForbiddenError(
                    f"scheme {self.name!r} does not apply to {model.name}: {group.q_heads} query heads make no "
                    f"{self.kv_heads} equal groups (kv_heads may be {', '.join(map(str, fitting))})"
                )

    def reshape(self, model: ModelSpec) -> ModelSpec:
        """The same layers with fewer key and value heads."""
        groups = tuple(
            group.model_copy(update={"kv_heads": self.kv_heads})
            if isinstance(group, HeadAttention) and group.kv_heads > self.kv_heads
            else group
            for group in model.attention
        )
        return model.model_copy(update={"attention": groups})
