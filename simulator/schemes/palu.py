"""Palu: cache low-rank latents of keys and values; rebuild keys inside the attention kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import Axis, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.traffic import Operator, Symbols, term
from kvwall.workloads.model_spec import ModelSpec


class Palu(Scheme):
    """Groups of ``group_heads`` KV heads share a latent of ``keep`` times their width.

    Values fold into the output projection; keys are rebuilt for every cached token at every step because the rotary
    embedding stands between the two factors. ``rebuild=query_head`` is the published kernel, which rebuilds once per
    query head.
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
            together = min(self.group_heads, group.kv_heads)
            groups.append(replace(group, tensors=tuple(self._latent(t, together) for t in group.tensors)))
            fused.append((group.index, self._rebuild(group, cache, together)))
            extra += self._extra_weights(group, together)
        note = "palu: keys are rebuilt inside the attention kernel for every cached token"
        fused = [] if cache.prefill else fused
        return replace(
            cache, groups=tuple(groups), fused=(*cache.fused, *fused), extra_weights=cache.extra_weights + extra
        ).noting(note)

    def _keep(self, role: str) -> float:
        own = self.v_keep if role == "value" else self.k_keep
        return self.keep if own is None else own

    def _latent(self, tensor: Tensor, together: int) -> Tensor:
        if tensor.role not in {"key", "value"}:
            return tensor
        rank = self._keep(tensor.role) * together * tensor.channels
        return replace(tensor, heads=tensor.heads // together, channels=rank, owner=self.name)

    def _extra_weights(self, group: CacheGroup, together: int) -> float:
        """Parameters of the factors minus those of the projections they replace, all layers; never negative."""
        rank_k = self._keep("key") * group.kv_heads * group.head_dim
        rank_v = self._keep("value") * group.kv_heads * group.value_dim
        per_group_v = self._keep("value") * together * group.value_dim
        down = group.hidden_size * (rank_k + rank_v)
        up = rank_k * together * group.head_dim + group.hidden_size * group.q_heads * per_group_v
        replaced = group.hidden_size * (
            group.kv_heads * (group.head_dim + group.value_dim) + group.q_heads * group.value_dim
        )
        return max(0.0, group.layers * (down + up - replaced))

    def _rebuild(self, group: CacheGroup, cache: Cache, together: int) -> Operator:
        heads = group.q_heads if self.rebuild == "query_head" else group.kv_heads
        n = np.minimum(group.attended, _stored(group.tensors[0].segments))
        shared: Symbols = {"L": group.layers, "B": cache.batch, "n": n}
        rank_k = self._keep("key") * together * group.head_dim
        rank_v = self._keep("value") * together * group.value_dim
        terms = (
            term("rebuild keys", "matrix", "2 * L * H * r * d * B * n", self.reference,
                 H=heads, r=rank_k, d=group.head_dim, **shared),
            term("rotate rebuilt keys", "vector", "3 * L * H * d * B * n", self.reference,
                 H=heads, d=group.head_dim, **shared),
            term("weigh value latents", "matrix", "max(0, 2 * L * H * (r - d) * B * m * n)", self.reference,
                 H=group.q_heads, r=rank_v, d=group.value_dim, m=cache.query_tokens, **shared),
        )  # fmt: skip
        return Operator("palu", "rebuild keys", "attention", terms)


def _stored(segments: tuple[Segment, ...]) -> np.float64:
    return sum((s.stored for s in segments), start=np.float64(0.0))  # type: ignore[return-value]
