"""XQuant: cache the quantised input of a layer instead of keys and values, and compute these again in each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import Axis, Bits, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.number_format import integer_bits
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.segments import split_newest
from kvwall.simulator.traffic import Numeric, Operator, Term, term
from kvwall.workloads.model_spec import ModelSpec


class XQuant(Scheme):
    """One tensor a layer, at ``bits`` with a 16-bit scale and zero point per ``group`` channels of a token.

    Where the input ``X`` of a layer (``D`` wide) is no wider than keys and values together (``w`` wide), ``X`` is
    cached; elsewhere (grouped queries) ``X U``, the latents of an SVD of the two projections, as wide as they are.
    ``svd=never`` caches ``X`` whatever its width. All heads share the tensor, so every rank of tensor parallelism keeps
    all of it. The first ``first`` layers stay at 4 bits (paper: 3 in its table 4, none in its table 1), and the newest
    ``n mod residual`` tokens in 16 bits, for want of a full group of tokens.

    ``kernel=separate`` writes the keys and values of a layer to memory before attention reads them; the default takes a
    fused kernel, of which nothing is published.
    """

    name: ClassVar[str] = "xquant"
    title: ClassVar[str] = "quantised layer inputs in place of keys and values, which every step computes again"
    axes: ClassVar[frozenset[Axis]] = frozenset({"channels", "bits"})
    equations: ClassVar[tuple[str, ...]] = (
        "stored = B L n x (bits + 32 / group) / 8 bytes, x = D or w = H_kv (d + d_v), and (n mod residual) x 2",
        "compute again: X: 2 L D w B n FLOP; X U: 2 L ((H_kv d)^2 + (H_kv d_v)^2) B n; rotate: 3 L H_kv d B n",
        "weights: X: none; X U: (H_kv d)^2 + (H_kv d_v)^2 more parameters a layer",
        "separate kernels: keys and values move 4 L w B n bytes more",
    )
    reference: ClassVar[str] = "Tomar et al. 2025, XQuant, arXiv 2508.10395, section 3"
    limits: ClassVar[tuple[str, ...]] = (
        "computing keys and values again is bound by the matrix unit beyond a few thousand tokens of a whole batch",
        "not on latents (MLA): the input is many times wider than the latent",
        "no public code and no published times",
    )
    excludes: ClassVar[Mapping[str, str]] = {
        "snapkv": "each head keeps tokens of its own, but all heads share the cached input"
    }

    bits: Literal["2", "3", "4", "8", 2, 3, 4, 8] = 4
    group: int = Field(128, ge=8, le=4096)
    first: int = Field(0, ge=0, le=10_000)
    residual: int = Field(128, ge=1, le=1_000_000)
    svd: Literal["auto", "never"] = "auto"
    kernel: Literal["fused", "separate"] = "fused"

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "the input of a layer is many times wider than its latent")

    def rewrite(self, cache: Cache) -> Cache:
        """One tensor a layer, and the work of making keys and values of it."""
        left = float(self.first)
        groups: list[CacheGroup] = []
        fused: dict[int, Operator] = {}
        apart: list[tuple[int, Operator]] = []
        extra = 0.0
        for group in cache.groups:
            if group.kind == "linear":
                groups.append(group)
                continue
            wide = min(left, group.layers)
            left -= wide
            parts = ((wide, 4.0), (group.layers - wide, float(self.bits)))
            groups += [self._cached(replace(group, layers=layers), bits) for layers, bits in parts if layers]
            if not cache.prefill:
                fused[group.index] = self._again(group, cache, wide / group.layers)
            apart += [(group.index, operator) for operator in self._kernels(group, cache)]
            extra += group.layers * self._extra_parameters(group)
        return replace(
            cache,
            groups=tuple(groups),
            fused=(*cache.fused, *fused.items()),
            operators=(*cache.operators, *apart),
            extra_weights=cache.extra_weights + extra,
            workspace=cache.workspace + self._workspace(cache),
        )

    def _keeps_input(self, group: CacheGroup) -> bool:
        return self.svd == "never" or group.hidden_size <= kv_width(group)

    def _cached(self, group: CacheGroup, bits: float) -> CacheGroup:
        form = integer_bits(bits, self.group, 16.0, 16.0)
        width = group.hidden_size if self._keeps_input(group) else kv_width(group)
        segments = tuple(part for s in group.tensors[0].segments for part in self._split(s, form))
        return replace(group, tensors=(Tensor("latent", 0, width, segments, owner=self.name),))

    def _split(self, segment: Segment, form: Bits) -> tuple[Segment, Segment]:
        older, newest = split_newest(segment, np.mod(segment.stored, self.residual), "window")
        return replace(older, bits=form), newest

    def _extra_parameters(self, group: CacheGroup) -> float:
        """Parameters of one layer beyond the projections."""
        return 0.0 if self._keeps_input(group) else float(_squares(group))

    def _flops_per_token(self, group: CacheGroup) -> float:
        """FLOP that make the keys and values of one token and layer."""
        return 2.0 * (group.hidden_size * kv_width(group) if self._keeps_input(group) else _squares(group))

    def _again(self, group: CacheGroup, cache: Cache, wide: float) -> Operator:
        """Work per layer and attended token; ``wide`` is the part of the layers at 4 bits."""
        return Operator(self.name, "compute keys and values again", "attention", self._terms(group, cache, wide))

    def _terms(self, group: CacheGroup, cache: Cache, wide: float) -> tuple[Term, ...]:
        terms = [
            term("compute keys and values again", "matrix", "F * B", self.reference, F=self._flops_per_token(group),
                 B=cache.batch),
            term("rotate keys", "vector", "3 * H * d * B", self.reference, H=group.kv_heads, d=group.head_dim,
                 B=cache.batch),
        ]  # fmt: skip
        if self.kernel == "separate":
            terms.append(
                term("write and read keys and values", "hbm", "4 * w * B", self.reference, compulsory=False,
                     w=kv_width(group), B=cache.batch)
            )  # fmt: skip
        return tuple(terms)

    def _kernels(self, group: CacheGroup, cache: Cache) -> list[Operator]:
        """Kernels besides attention: what further parameters do to new tokens, the launches of separate kernels."""
        made = []
        extra = self._extra_parameters(group)
        if extra:
            multiply = term("project new tokens", "matrix", "2 * L * P * B * q", self.reference, L=group.layers,
                            P=extra, B=cache.batch, q=cache.query_tokens)  # fmt: skip
            made.append(Operator(self.name, "latents of new tokens", "gemm", (multiply,), group.layers))
        if self.kernel == "separate" and not cache.prefill:
            made.append(Operator(self.name, "convert, multiply twice, rotate", "gemm", (), 4 * group.layers))
        return made

    def _workspace(self, cache: Cache) -> Numeric:
        """Keys and values of one layer where separate kernels write them."""
        if self.kernel == "fused":
            return 0.0
        widest = max(kv_width(group) for group in cache.groups)
        return 2.0 * widest * cache.context


def kv_width(group: CacheGroup) -> int:
    """Channels of keys and values together."""
    return group.kv_heads * (group.head_dim + group.value_dim)


def _squares(group: CacheGroup) -> int:
    """Parameters of the two square factors that turn latents into keys and values."""
    return (group.kv_heads * group.head_dim) ** 2 + (group.kv_heads * group.value_dim) ** 2
