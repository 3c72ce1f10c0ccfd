"""Palu: cache low-rank latents of keys and values; rebuild keys inside the attention kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from kvwall.simulator.cache import SIXTEEN_BITS, Axis, Bits, Cache, CacheGroup, Tensor
from kvwall.simulator.number_format import integer_bits
from kvwall.simulator.operators.prefill import causal_pairs, chunked_pairs
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.traffic import Operator, Term, term
from kvwall.workloads.model_spec import ModelSpec


class Palu(Scheme):
    """Groups of ``group_heads`` KV heads share a latent of ``keep`` times their width.

    1 head is the paper's M-LRD, all of them its J-LRD, 4 (default) its G-LRD. Where ``group_heads`` does not divide the
    KV heads, a latent joins the largest smaller number that does. Values fold into the output projection; keys are
    rebuilt for every cached token at every step because the rotary embedding stands between the two factors;
    ``rope=false`` (ALiBi, learned positions) lets them fold into the query projection as well.

    ``bits`` stores latents as integers with one 16-bit scale and zero point per token and latent (the paper's own
    quantiser; its Hadamard rotation folds into the factors). ``rebuild=query_head`` rebuilds once per query head, as
    the published kernel does, and ``kernel=public`` adds its logits, which pass through memory between three kernels.
    """

    name: ClassVar[str] = "palu"
    title: ClassVar[str] = "low-rank latents of keys and values by post-training SVD"
    axes: ClassVar[frozenset[Axis]] = frozenset({"channels"})
    equations: ClassVar[tuple[str, ...]] = (
        "r_g = keep * group_heads * d,  R = r_g * H_kv / group_heads",
        "stored = B n L [ (R_K + R_V) bits / 8 + (bits < 16) 2 H_kv / group_heads 4 ] bytes",
        "rebuild keys: 2 L H r_gK d B n FLOP, rotate: 3 L H d B n, values: 2 L H_q (r_gV - d) B n",
        "without rotary positions: keys cost 2 L H_q (r_gK - d) B n instead",
        "weights: D (R_K + R_V) + R_K g d + D H_q r_gV - D (2 H_kv + H_q) d parameters a layer",
        "public kernel: logits move 8 L H_q B n bytes, 2 L more launches",
        "prefill: 2 L R_K g d B q FLOP rebuild the prompt's keys",
    )
    reference: ClassVar[str] = "Chang et al. 2024, Palu, arXiv 2407.21118, section 3 and released code"
    limits: ClassVar[tuple[str, ...]] = (
        "rebuilding keys is bound by the matrix unit from groups of two or three heads up, at any batch",
        "the fused output projection grows by keep * group_heads",
        "not on latents (MLA), and a norm between projection and rotation must be applied to rebuilt keys",
        "the released code quantises latents in simulation only; its kernel reads 16 bits",
    )

    keep: float = Field(0.5, gt=0, le=1)
    k_keep: float | None = Field(None, gt=0, le=1)
    v_keep: float | None = Field(None, gt=0, le=1)
    group_heads: int = Field(4, ge=1, le=1024)
    rebuild: Literal["kv_head", "query_head"] = "kv_head"
    bits: Literal["2", "3", "4", "8", "16", 2, 3, 4, 8, 16] = 16
    kernel: Literal["fused", "public"] = "fused"
    rope: bool = True

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "its cache is a latent already")

    @property
    def shrinks(self) -> frozenset[Axis]:
        """Channels, and bits where latents are quantised."""
        return self.axes | {"bits"} if float(self.bits) < 16 else self.axes

    def rewrite(self, cache: Cache) -> Cache:
        """Keys and values become latents; the attention kernel rebuilds keys."""
        if min(self._keep("key"), self._keep("value")) >= 1:
            return cache
        fused: list[tuple[int, Operator]] = []
        apart: list[tuple[int, Operator]] = []
        groups: list[CacheGroup] = []
        extra = 0.0
        for group in cache.groups:
            if group.kind == "linear":
                groups.append(group)
                continue
            together = self._together(group.kv_heads)
            groups.append(replace(group, tensors=tuple(self._latent(t, together) for t in group.tensors)))
            if cache.prefill:
                apart.append((group.index, self._prompt(group, cache, together)))
            else:
                fused.append((group.index, self._rebuild(group, cache, together)))
                apart += [(group.index, operator) for operator in self._kernels(group, cache, together)]
            extra += self._extra_weights(group, together)
        rebuilt = "palu: keys are rebuilt inside the attention kernel for every cached token"
        return replace(
            cache,
            groups=tuple(groups),
            fused=(*cache.fused, *fused),
            operators=(*cache.operators, *apart),
            extra_weights=cache.extra_weights + extra,
        ).noting(*((rebuilt,) if self.rope else ()))

    def _together(self, kv_heads: int) -> int:
        """Heads of one latent: the largest divisor of the KV heads up to ``group_heads``."""
        return max(heads for heads in range(1, min(self.group_heads, kv_heads) + 1) if kv_heads % heads == 0)

    def _keep(self, role: str) -> float:
        own = self.v_keep if role == "value" else self.k_keep
        return self.keep if own is None else own

    def _format(self, rank: float) -> Bits:
        return SIXTEEN_BITS if float(self.bits) >= 16 else integer_bits(float(self.bits), rank, 16.0, 16.0)

    def _latent(self, tensor: Tensor, together: int) -> Tensor:
        if tensor.role not in {"key", "value"} or self._keep(tensor.role) >= 1:
            return tensor
        rank = self._keep(tensor.role) * together * tensor.channels
        stored = tensor.map(lambda segment: replace(segment, bits=self._format(rank)))
        return replace(stored, heads=tensor.heads // together, channels=rank, owner=self.name)

    def _extra_weights(self, group: CacheGroup, together: int) -> float:
        """Parameters of the factors minus those of the projections they replace, all layers; never negative."""
        key, value = self._keep("key"), self._keep("value")
        rank_k, rank_v = key * group.kv_heads * group.head_dim, value * group.kv_heads * group.value_dim
        extra = 0.0
        if key < 1:
            extra += rank_k * group.hidden_size - group.hidden_size * group.kv_heads * group.head_dim
            folded = group.q_heads * group.hidden_size * (key * together - 1) * group.head_dim
            extra += rank_k * together * group.head_dim if self.rope else folded
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
        if self._keep("key") < 1 and self.rope:
            terms += [
                term("rebuild keys", "matrix", "2 * H * r * d * B", self.reference,
                     H=heads, r=rank_k, d=group.head_dim, B=cache.batch),
                term("rotate rebuilt keys", "vector", "3 * H * d * B", self.reference,
                     H=heads, d=group.head_dim, B=cache.batch),
            ]  # fmt: skip
        elif self._keep("key") < 1:
            terms.append(
                term("score key latents", "matrix", "max(0, 2 * H * (r - d) * B * m)", self.reference,
                     H=group.q_heads, r=rank_k, d=group.head_dim, B=cache.batch, m=cache.query_tokens)
            )  # fmt: skip
        if self._keep("value") < 1:
            terms.append(
                term("weigh value latents", "matrix", "max(0, 2 * H * (r - d) * B * m)", self.reference,
                     H=group.q_heads, r=rank_v, d=group.value_dim, B=cache.batch, m=cache.query_tokens)
            )  # fmt: skip
        if self.kernel == "public":
            # fp16 logits written, read and widened to fp32 for the softmax, written again and read by the product.
            terms.append(
                term("move attention logits", "hbm", "8 * H * B * m", self.reference, compulsory=False,
                     H=group.q_heads, B=cache.batch, m=cache.query_tokens)
            )  # fmt: skip
        return Operator("palu", "rebuild keys", "attention", tuple(terms))

    def _kernels(self, group: CacheGroup, cache: Cache, together: int) -> list[Operator]:
        """Kernels of a decode step besides attention: the wider output projection, the launches of a split kernel."""
        made = []
        wider = self._wider_output(group, together)
        if wider > 0:
            multiply = term("wider output projection", "matrix", "2 * L * W * B * m", self.reference,
                            L=group.layers, W=wider, B=cache.batch, m=cache.query_tokens)  # fmt: skip
            made.append(Operator("palu", "fused output projection", "gemm", (multiply,)))
        if self.kernel == "public":
            made.append(Operator("palu", "softmax and weighted sum", "attention", (), launches=2 * group.layers))
        return made

    def _wider_output(self, group: CacheGroup, together: int) -> float:
        """Parameters that one layer's output projection gains by taking value latents."""
        if self._keep("value") >= 1:
            return 0.0
        return group.hidden_size * group.q_heads * group.value_dim * (self._keep("value") * together - 1)

    def _prompt(self, group: CacheGroup, cache: Cache, together: int) -> Operator:
        """Keys of a prompt are rebuilt once, values weighed as latents; smaller projections are not credited."""
        rank_k = self._keep("key") * group.kv_heads * group.head_dim if self._keep("key") < 1 else 0.0
        if group.kind == "chunked" and group.window is not None:
            pairs = chunked_pairs(cache.query_tokens, cache.context, group.window)
        else:
            pairs = causal_pairs(cache.query_tokens, cache.context, group.window)
        wider_row = max(0.0, self._wider_output(group, together) / max(1, group.hidden_size))
        terms = (
            term("rebuild the prompt's keys", "matrix", "2 * L * R * g * d * B * q", self.reference, L=group.layers,
                 R=rank_k, g=together, d=group.head_dim, B=cache.batch, q=cache.query_tokens),
            term("weigh the prompt's value latents", "matrix", "2 * L * w * B * P", self.reference, L=group.layers,
                 w=wider_row, B=cache.batch, P=pairs),
            term("wider output projection", "matrix", "2 * L * w * D * B * q", self.reference, L=group.layers,
                 w=wider_row, D=group.hidden_size, B=cache.batch, q=cache.query_tokens),
        )  # fmt: skip
        return Operator("palu", "latents of the prompt", "gemm", terms, launches=group.layers)
