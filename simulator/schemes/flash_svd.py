"""FlashSVD: weights as products of low rank, and kernels that never write what the products expand to."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from kvwall.simulator.cache import Axis
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.workloads.model_spec import Factored, ModelSpec


class FlashSVD(Scheme):
    """Every matrix of the layers as two factors that hold ``keep`` of its parameters (ASVD, SVD-LLM and others).

    The cache stays dense: keys and values are expanded once, when their token comes. ``kernel=runtime`` (the released
    decode runtime, version 1.5) expands every activation in memory; ``kernel=streaming`` (the paper's kernels) keeps
    products of the first factors and expands tiles of them on chip, over and over in a prefill, which shrinks the
    activations of the largest pass and frees that memory for the cache. Default 0.5, as released.
    """

    name: ClassVar[str] = "flash_svd"
    title: ClassVar[str] = "low-rank weights, with kernels that keep their activations low-rank as well"
    axes: ClassVar[frozenset[Axis]] = frozenset({"weights"})
    equations: ClassVar[tuple[str, ...]] = (
        "weights: r (m + k) parameters for m k, r = keep m k / (m + k); FLOP 2 r (m + k) a token",
        "activations of a token, streaming: r_q + r_k + r_v + D in attention, r_1 + D in the feed-forward network",
        "streaming prefill: 2 S^2 / 64 (r_k d + r_v d_v) FLOP more a head and 2 r_1 D_ff D / 64 more a token",
    )
    reference: ClassVar[str] = "Shao et al. 2025, FlashSVD, arXiv 2508.01506, and released code"
    limits: ClassVar[tuple[str, ...]] = (
        "the cache does not shrink; weights and activations leave more room for it",
        "streaming kernels compute tiles again, so long prompts become slower as the rank grows",
        "embedding, LM head, routers and recurrent mixers stay whole",
    )

    keep: float = Field(0.5, gt=0, le=1)
    kernel: Literal["runtime", "streaming"] = "runtime"

    def check(self, model: ModelSpec) -> None:
        """Any model that caches tokens."""
        forbid_no_tokens(self, model)

    def reshape(self, model: ModelSpec) -> ModelSpec:
        """The same layers with factored matrices; all parameters kept are the model as it is."""
        if self.keep >= 1:
            return model
        factored = Factored(keep=self.keep, streamed=self.kernel == "streaming")
        return model.model_copy(update={"factored": factored})
