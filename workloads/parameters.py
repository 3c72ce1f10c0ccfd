"""Parameters of an architecture: per projection of one layer, per tensor class, stored and touched by a token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from kvwall.workloads.model_spec import (
    AttentionGroup,
    DenseFeedForward,
    ExpertFeedForward,
    FeedForwardGroup,
    HeadAttention,
    LatentAttention,
    LinearState,
    ModelSpec,
)
from kvwall.workloads.weight_format import TensorClass


@dataclass(frozen=True)
class HeadProjections:
    """Parameters of one attention layer with keys and values per head.

    :ivar qkv: the fused query, key, value (and gate) matrix
    :ivar output: the output matrix
    :ivar bias: bias vectors and sink logits
    :ivar norm: norm vectors of queries and keys
    """

    qkv: int
    output: int
    bias: int
    norm: int

    @property
    def matrices(self) -> int:
        """All parameters that a token is multiplied with."""
        return self.qkv + self.output


@dataclass(frozen=True)
class LatentProjections:
    """Parameters of one latent-attention layer.

    :ivar q: hidden to all query heads, when queries have no latent (else 0)
    :ivar q_a: hidden to the query latent (0 without one)
    :ivar q_b: query latent to all query heads (0 without one)
    :ivar kv_a: hidden to the cached latent and the rotary key
    :ivar kv_b: latent to all keys and values; absorbed into queries and outputs in decode
    :ivar output: the output matrix
    :ivar indexer_q: query latent (or hidden) to the indexer's query heads
    :ivar indexer_k: hidden to the indexer's key
    :ivar indexer_weights: hidden to one weight per indexer head
    :ivar norm: norm vectors of the latents and of the indexer's key
    """

    q: int
    q_a: int
    q_b: int
    kv_a: int
    kv_b: int
    output: int
    indexer_q: int
    indexer_k: int
    indexer_weights: int
    norm: int

    @property
    def indexer(self) -> int:
        """All parameters of the indexer's projections."""
        return self.indexer_q + self.indexer_k + self.indexer_weights

    @property
    def matrices(self) -> int:
        """All parameters that a token is multiplied with."""
        return self.q + self.q_a + self.q_b + self.kv_a + self.kv_b + self.output + self.indexer


@dataclass(frozen=True)
class FeedForwardParameters:
    """Parameters of one feed-forward layer, biases included.

    :ivar dense: the network that every token visits in a layer without experts
    :ivar expert: one routed expert
    :ivar shared: all shared experts together, with their gate
    :ivar router: the router
    """

    dense: int = 0
    expert: int = 0
    shared: int = 0
    router: int = 0


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of a whole model, multi-token-prediction layers left out.

    :ivar by_class: stored parameters of each tensor class; a tied ``lm_head`` is 0 because the embedding is it
    :ivar extra: parameters outside the decoder's layers (vision towers, ...)
    :ivar lm_head_read: parameters of the matrix that turns hidden states into logits, tied or not
    :ivar active: parameters a token touches, embedding and ``lm_head`` counted whole
    """

    by_class: Mapping[TensorClass, int]
    extra: int
    lm_head_read: int
    active: int

    @property
    def decoder(self) -> int:
        """Stored parameters of all tensor classes."""
        return sum(self.by_class.values())

    @property
    def total(self) -> int:
        """All stored parameters."""
        return self.decoder + self.extra


def head_projections(group: HeadAttention, hidden_size: int) -> HeadProjections:
    """Projections of one layer: ``D*(q*d*(1 + gate) + kv*d + kv*d_v)`` and ``q*d_v*D``.

    :param group: ``q`` query and ``kv`` KV heads of ``d`` key and ``d_v`` value channels
    :param hidden_size: ``D``
    """
    query = group.q_heads * group.head_dim * (2 if group.output_gate else 1)
    key = group.kv_heads * group.head_dim
    value = 0 if group.shared_kv_projection else group.kv_heads * group.value_dim
    bias = (query + key + value) * group.qkv_bias + hidden_size * group.output_bias + group.q_heads * group.sinks
    norm_heads = (group.q_heads + group.kv_heads) if group.qk_norm_per_head else 2
    return HeadProjections(
        qkv=hidden_size * (query + key + value),
        output=group.q_heads * group.value_dim * hidden_size,
        bias=bias,
        norm=norm_heads * group.head_dim * group.qk_norm,
    )


def latent_projections(group: LatentAttention, hidden_size: int) -> LatentProjections:
    """Projections of one latent-attention layer.

    ``q_a = D*r_q``, ``q_b = r_q*h*(n + r)`` (or ``q = D*h*(n + r)``), ``kv_a = D*(c + r)``, ``kv_b = c*h*(n + v)``,
    ``output = h*v*D``; an indexer adds ``r_q*h_i*d_i + D*d_i + D*h_i`` (DeepSeek-V2, arXiv 2405.04434, section 2.1;
    DeepSeek-V3.2 technical report for the indexer).

    :param group: ``h`` heads, ranks ``r_q`` and ``c``, channels ``n`` (nope), ``r`` (rope) and ``v`` (values)
    :param hidden_size: ``D``
    """
    query = group.q_heads * (group.qk_nope_head_dim + group.qk_rope_head_dim)
    rank = group.q_lora_rank
    indexer = group.indexer
    indexer_heads, indexer_dim = (indexer.heads, indexer.head_dim) if indexer else (0, 0)
    return LatentProjections(
        q=0 if rank else hidden_size * query,
        q_a=hidden_size * rank,
        q_b=rank * query,
        kv_a=hidden_size * (group.kv_lora_rank + group.qk_rope_head_dim),
        kv_b=group.kv_lora_rank * group.q_heads * (group.qk_nope_head_dim + group.v_head_dim),
        output=group.q_heads * group.v_head_dim * hidden_size,
        indexer_q=(rank or hidden_size) * indexer_heads * indexer_dim,
        indexer_k=hidden_size * indexer_dim,
        indexer_weights=hidden_size * indexer_heads,
        norm=rank + group.kv_lora_rank + 2 * indexer_dim,
    )


def network_parameters(hidden_size: int, intermediate_size: int, matrices: int, bias: bool) -> int:
    """One feed-forward network: ``m*D*F``, with biases ``(m - 1)*F + D`` more.

    :param matrices: ``m``: 3 with a gate, 2 without
    """
    weights = matrices * hidden_size * intermediate_size
    return weights + ((matrices - 1) * intermediate_size + hidden_size if bias else 0)


def feed_forward_parameters(group: FeedForwardGroup, hidden_size: int) -> FeedForwardParameters:
    """Networks of one layer of ``group``; the router is ``D*E`` (one more row per bias), the shared gate ``D``."""
    if isinstance(group, DenseFeedForward):
        dense = network_parameters(hidden_size, group.intermediate_size, group.matrices, group.bias)
        return FeedForwardParameters(dense=dense)
    shared = 0
    if group.shared_intermediate_size:
        shared = network_parameters(hidden_size, group.shared_intermediate_size, group.matrices, group.bias)
        shared += hidden_size * group.shared_expert_gate
    return FeedForwardParameters(
        expert=network_parameters(hidden_size, group.intermediate_size, group.matrices, group.bias),
        shared=shared,
        router=group.experts * (hidden_size + group.bias),
    )


def _attention_counts(group: AttentionGroup, hidden_size: int) -> Counter[TensorClass]:
    counts: Counter[TensorClass] = Counter()
    if isinstance(group, LinearState):
        counts["state"] = group.layers * group.parameters
    elif isinstance(group, LatentAttention):
        latent = latent_projections(group, hidden_size)
        counts["attention"], counts["norms"] = group.layers * latent.matrices, group.layers * latent.norm
    else:
        heads = head_projections(group, hidden_size)
        counts["attention"] = group.layers * (heads.matrices + heads.bias)
        counts["norms"] = group.layers * heads.norm
    return counts


def _feed_forward_counts(group: FeedForwardGroup, hidden_size: int) -> Counter[TensorClass]:
    parameters = feed_forward_parameters(group, hidden_size)
    counts: Counter[TensorClass] = Counter()
    counts["feed_forward"] = group.layers * (parameters.dense + parameters.shared)
    counts["router"] = group.layers * parameters.router
    if isinstance(group, ExpertFeedForward):
        counts["experts"] = group.layers * group.experts * parameters.expert
    return counts


def idle_expert_parameters(model: ModelSpec) -> int:
    """Parameters of the routed experts that one token does not visit: ``sum L*(E - k)*expert``."""
    return sum(
        group.layers
        * (group.experts - group.experts_per_token)
        * feed_forward_parameters(group, model.hidden_size).expert
        for group in model.feed_forward
        if isinstance(group, ExpertFeedForward)
    )


def count_parameters(model: ModelSpec) -> ParameterCount:
    """Parameters of ``model`` by tensor class, in total and per token.

    Embedding ``V*D`` (and learned positions ``P*D``), ``lm_head`` ``V*D`` unless tied, ``L*n + 1`` norm vectors of
    ``D`` (twice that with biases), and the groups of attention and feed-forward layers.
    """
    hidden = model.hidden_size
    counts: Counter[TensorClass] = Counter(dict.fromkeys(get_args(TensorClass), 0))
    for attention in model.attention:
        counts.update(_attention_counts(attention, hidden))
    for feed_forward in model.feed_forward:
        counts.update(_feed_forward_counts(feed_forward, hidden))
    counts["embedding"] += (model.vocab_size + model.learned_positions) * hidden
    lm_head = model.vocab_size * (hidden + model.lm_head_bias)
    counts["lm_head"] += model.vocab_size * model.lm_head_bias if model.tied_embeddings else lm_head
    counts["norms"] += (model.layers * model.norm_matrices + 1) * hidden * (2 if model.norm_bias else 1)
    extra = model.extra.count if model.extra else 0
    extra_read = extra if model.extra and model.extra.read_each_step else 0
    active = sum(counts.values()) - idle_expert_parameters(model) + extra_read
    return ParameterCount(dict(counts), extra, lm_head, active)
