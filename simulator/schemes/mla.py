"""Multi-head latent attention: how a step attends over the latents that the model keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.cache import Axis, Cache, CacheGroup, Tensor
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.simulator.traffic import Operator, term
from kvwall.workloads.model_spec import ModelSpec


class Mla(Scheme):
    """Latent attention in one of the forms in which it is run; the model must have it.

    ``form=absorbed`` (default, what engines run) multiplies queries with latents directly: one key head of 576 and one
    value head of 512 channels for all query heads. ``form=expanded`` keeps latents but rebuilds keys and values of
    every head for every cached token in each step. ``form=heads`` keeps the rebuilt keys and values, as the first
    public code did: what the same heads would cache without latents. Every rank of tensor parallelism keeps the whole
    latent; ``--kv-dtype fp8`` stores it as a row of 656 bytes.
    """

    name: ClassVar[str] = "mla"
    title: ClassVar[str] = "latent attention: absorbed, expanded in each step, or cached as full heads"
    axes: ClassVar[frozenset[Axis]] = frozenset({"channels"})
    equations: ClassVar[tuple[str, ...]] = (
        "stored = B n L (c + r) 2 bytes on every rank (fp8: L (c + 4 c / 128 + 2 r)); heads: B n L H (k + r + v) 2",
        "absorbed: 2 L H (2 c + r) B n m FLOP",
        "expanded: 2 L H c (k + v) B n + 2 L H (k + r + v) B n m FLOP",
        "FLOP per byte read, absorbed: H m (2 c + r) / (c + r)",
    )
    reference: ClassVar[str] = "DeepSeek-AI 2024, DeepSeek-V2, arXiv 2405.04434, section 2.1"
    limits: ClassVar[tuple[str, ...]] = (
        "only for models trained with latents",
        "tensor parallelism splits the heads, not the latent: data-parallel attention is the remedy",
        "absorbed decode of 128 heads is at the ridge of current devices, and beyond it with drafted tokens",
    )

    form: Literal["absorbed", "expanded", "heads"] = "absorbed"

    def check(self, model: ModelSpec) -> None:
        """Only models with multi-head latent attention."""
        forbid_no_tokens(self, model)
        if all(group.kind != "mla" for group in model.attention):
            raise ForbiddenError(
                f"scheme {self.name!r} does not apply to {model.name}: its heads have keys and values of their own"
            )

    def rewrite(self, cache: Cache) -> Cache:
        """Latents as they are, with the work of expanding them, or keys and values of every head in their place."""
        if self.form == "absorbed":
            return cache
        if self.form == "heads":
            return cache.map_groups(lambda group: self._as_heads(group) if group.kind == "mla" else group)
        if cache.prefill:
            return cache  # a prefill expands in any form
        fused = [(group.index, self._expansion(group, cache)) for group in cache.groups if group.kind == "mla"]
        return replace(cache, fused=(*cache.fused, *fused)).noting(
            "mla: keys and values of every head are rebuilt from the latents in each step"
        )

    def _as_heads(self, group: CacheGroup) -> CacheGroup:
        key, value = group.prefill_dims
        latent = next(t for t in group.tensors if t.role == "latent")
        rest = tuple(t for t in group.tensors if t.role not in {"latent", "rope key"})
        heads = (
            Tensor("key", group.q_heads, key, latent.segments, owner=self.name),
            Tensor("value", group.q_heads, value, latent.segments, owner=self.name),
        )
        return replace(
            group, kind="full", tensors=(*heads, *rest), kv_heads=group.q_heads, head_dim=key, value_dim=value
        )

    def _expansion(self, group: CacheGroup, cache: Cache) -> Operator:
        """Work per layer and attended token beyond the absorbed products, which the kernel counts."""
        key, value = group.prefill_dims
        rope = group.head_dim - group.value_dim
        expand = term(
            "expand keys and values", "matrix", "max(0, 2 * H * (c * (k + v) - (2 * c - k - v) * m) * B)",
            self.reference, H=group.q_heads, c=group.value_dim, k=key - rope, v=value, B=cache.batch,
            m=cache.query_tokens,
        )  # fmt: skip
        return Operator(self.name, "expand latents", "attention", (expand,))
