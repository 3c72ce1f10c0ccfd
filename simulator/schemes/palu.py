"""Palu: cache low-rank latents of keys and values; rebuild keys inside the attention kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from kvwall.simulator.cache import Axis, Cache, CacheGroup, Tensor
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.traffic import Operator, Term, term
from kvwall.workloads.model_spec import ModelSpec


class Palu(Scheme):
    """Groups of ``group_heads`` KV heads share a latent of ``keep`` times their width.

    Where ``group_heads`` does not divide the KV heads, a latent joins the largest smaller number that does. Values fold
    into the output projection; keys are rebuilt for every cached token at every step because the rotary embedding
    stands between the two factors. ``rebuild=query_head`` is the published kernel, which rebuilds once per query head.
    """

    name: ClassVar[str] = "palu"
    title: ClassVar[str] = "low-rank latents of keys and values by post-training SVD"
    axes: ClassVar[frozenset[Axis]] = frozenset({"channels"})
    equations: ClassVar[tuple[str, ...]] = (
        "r_g = keep * group_heads * d,  R = r_g * H_kv / group_heads",
        "stored = B n L (R_K + R_V) 2 bytes",
        "rebuild keys: 2 L H r_gK d B n FLOP, rotate: 3 L H d B n, values: 2 L H_q (r_gV - d) B n",
        "weights: D (R_K + R_V) + R_K g d + D H_q r_gV - D (2 H_kv + H_q) d parameters a layer",
    )
    reference: ClassVar[str] = "Chang et al. 2024, Palu, arXiv 2407.21118, section 3 and released code"
    limits: ClassVar[tuple[str, ...]] = (
        "rebuilding keys is bound by the matrix unit from groups of two or three heads up, at any batch",
        "the fused output projection grows by keep * group_heads",
        "not on latents (MLA), and a norm between projection and rotation must be applied to rebuilt keys",
    )

    keep: float = Field(0.5, gt=0, le=1)
    k_keep: float | None = Field(None, gt=0, le=1)
    v_keep: float | None = Field(None, gt=0, le=1)
    group_heads: int = Field(4, ge=1, le=1024)
    rebuild: Literal["kv_head", "query_head"] = "kv_head"

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "its cache is a latent already")

    def rewrite(self, cache: Cache) -> Cache:
        """Keys and values become latents; the attention kernel rebuilds keys."""
        if min(self._keep("key"), self._keep("value")) >= 1:
            return cache
        fused: list[tuple[int, Operator]] = []
        groups: list[CacheGroup] = []
        extra = 0.0
        for group in cache.groups:
            if group.kind == "linear":
                groups.append(group)
                continue
            together = self._together(group.kv_heads)
            groups.append(replace(group, tensors=tuple(self._latent(t, together) for t in group.tensors)))
            if not cache.prefill:
                fused.append((group.index, self._rebuild(group, cache, together)))
            extra += self._extra_weights(group, together)
        note = "palu: keys are rebuilt inside the attention kernel for every cached token"
        return replace(
            cache, groups=tuple(groups), fused=(*cache.fused, *fused), extra_weights=cache.extra_weights + extra
        ).noting(note)

    def _together(self, kv_heads: int) -> int:
        """Heads of one latent: the largest divisor of the KV heads up to ``group_heads``."""
        return max(heads for heads in range(1, min(self.group_heads, kv_heads) + 1) if kv_heads % heads == 0)

    def _keep(self, role: str) -> float:
        own = self.v_keep if role == "value" else self.k_keep
        return self.keep if own is None else own

    def _latent(self, tensor: Tensor, together: int) -> Tensor:
        if tensor.role not in {"key", "value"} or self._keep(tensor.role) >= 1:
            return tensor
        rank = self._keep(tensor.role) * together * tensor.channels
        return replace(tensor, heads=tensor.heads // together, channels=rank, owner=self.name)

    def _extra_weights(self, group: CacheGroup, together: int) -> float:
        """Parameters of the factors minus those of the projections they replace, all layers; never negative."""
        key, value = self._keep("key"), self._keep("value")
        rank_k, rank_v = key * group.kv_heads * group.head_dim, value * group.kv_heads * group.value_dim
        extra = 0.0
        if key < 1:
            extra += rank_k * (group.hidden_size + together * group.head_dim)
            extra -= group.hidden_size * group.kv_heads * group.head_dim
        if value < 1:
            folded = group.q_heads * value * together * group.value_dim
            extra += group.hidden_size * (rank_v + folded)
            extra -= group.hidden_size * (group.kv_heads + group.q_heads) * group.value_dim
        return max(0.0, group.layers * extra)

    def _rebuild(self, group: CacheGroup, cache: Cache, together: int) -> Operator:
        """Work per layer and attended token of all heads."""
        heads = group.q_heads if self.rebuild == "query_head" else group.kv_heads
        rank_k = self._keep("key") * together * group.head_dim
        rank_v = self._keep("value") * together * group.value_dim
        terms: list[Term] = []
        if self._keep("key") < 1:
            terms += [
                term("rebuild keys", "matrix", "2 * H * r * d * B", self.reference,
                     H=heads, r=rank_k, d=group.head_dim, B=cache.batch),
                term("rotate rebuilt keys", "vector", "3 * H * d * B", self.reference,
                     H=heads, d=group.head_dim, B=cache.batch),
            ]  # fmt: skip
        if self._keep("value") < 1:
            terms.append(
                term("weigh value latents", "matrix", "max(0, 2 * H * (r - d) * B * m)", self.reference,
                     H=group.q_heads, r=rank_v, d=group.value_dim, B=cache.batch, m=cache.query_tokens)
            )  # fmt: skip
        return Operator("palu", "rebuild keys", "attention", tuple(terms))
