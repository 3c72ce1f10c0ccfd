"""The weight matrices of one rank: what is resident, and what a step multiplies with.

Memory and time are told from this one list, so they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from kvwall.simulator.deployment import Deployment
from kvwall.workloads.model_spec import (
    DenseFeedForward,
    ExpertFeedForward,
    HeadAttention,
    Indexer,
    LatentAttention,
    LinearState,
    ModelSpec,
)
from kvwall.workloads.weight_format import TensorClass, WeightFormat

Owner = Literal["attention", "feed-forward", "head"]

#: Matrices that nobody factors: they choose tokens, or mix a recurrent state.
_WHOLE = frozenset({"indexer queries", "indexer keys", "state mixer"})


@dataclass(frozen=True, slots=True)
class Linear:
    """One weight matrix as one rank holds it, in ``layers`` alike layers.

    :ivar owner: the part of the model
    :ivar name: what it computes
    :ivar tensor: its class, which decides its number format
    :ivar layers: layers that have it
    :ivar inputs: input features on the rank
    :ivar outputs: output features on the rank
    :ivar experts: routed experts of the layer that lie on the rank; 0 for what every token visits
    :ivar group: index of the attention or feed-forward group it belongs to
    """

    owner: Owner
    name: str
    tensor: TensorClass
    layers: float
    inputs: float
    outputs: float
    experts: float = 0.0
    group: int = 0

    @property
    def parameters(self) -> float:
        """Parameters on the rank, all layers."""
        return self.layers * self.inputs * self.outputs * max(self.experts, 1.0)

    def bytes(self, weights: WeightFormat) -> float:
        """Resident bytes on the rank: ``parameters * bits / 8``."""
        return self.parameters * weights.bits(self.tensor) / 8


def attention_linears(model: ModelSpec, index: int, tp: int) -> tuple[Linear, ...]:
    """The projections of attention group ``index`` on one of ``tp`` ranks (KV heads replicate beyond their number)."""
    own = _attention_matrices(model, index, tp)
    return own if model.factored is None else _factors(own, _attention_matrices(model, index, 1), model.factored.keep)


def _factors(own: tuple[Linear, ...], whole: tuple[Linear, ...], keep: float) -> tuple[Linear, ...]:
    """``own`` matrices of a rank as products of two: ``m x r`` and ``r x k``.

    ``r = keep m k / (m + k)`` of the ``whole`` matrix; a rank holds its part of the split side and all of the other
    factor. Routers, indexers and mixers of recurrent layers stay whole.
    """
    made: list[Linear] = []
    for linear, full in zip(own, whole, strict=True):
        if linear.tensor == "router" or linear.name in _WHOLE:
            made.append(linear)
            continue
        rank = keep * full.inputs * full.outputs / (full.inputs + full.outputs)
        made.append(replace(linear, name=f"{linear.name}, first factor", outputs=rank))
        made.append(replace(linear, name=f"{linear.name}, second factor", inputs=rank))
    return tuple(made)


def _attention_matrices(model: ModelSpec, index: int, tp: int) -> tuple[Linear, ...]:
    group = model.attention[index]
    if isinstance(group, HeadAttention):
        return _head_linears(group, model.hidden_size, index, tp)
    if isinstance(group, LatentAttention):
        return _latent_linears(group, model.hidden_size, index, tp)
    return _state_linears(group, model.hidden_size, index, tp)


def _head_linears(group: HeadAttention, hidden: int, index: int, tp: int) -> tuple[Linear, ...]:
    q_heads = group.q_heads / tp
    kv_heads = max(1, -(-group.kv_heads // tp))
    kv_width = group.head_dim + (0 if group.shared_kv_projection else group.value_dim)
    own_kv = group.cached_layers / group.layers
    width = q_heads * group.head_dim * (2 if group.output_gate else 1) + own_kv * kv_heads * kv_width
    return (
        Linear("attention", "QKV projection", "attention", group.layers, hidden, width, group=index),
        Linear(
            "attention", "output projection", "attention", group.layers, q_heads * group.value_dim, hidden, group=index
        ),
    )


def _latent_linears(group: LatentAttention, hidden: int, index: int, tp: int) -> tuple[Linear, ...]:
    heads = group.q_heads / tp
    query_width = heads * (group.qk_nope_head_dim + group.qk_rope_head_dim)
    latent = group.kv_lora_rank + group.qk_rope_head_dim

    def linear(name: str, inputs: float, outputs: float, layers: float = group.layers) -> Linear:
        return Linear("attention", name, "attention", layers, inputs, outputs, group=index)

    query = (
        (
            linear("query down-projection", hidden, group.q_lora_rank),
            linear("query up-projection", group.q_lora_rank, query_width),
        )
        if group.q_lora_rank
        else (linear("query projection", hidden, query_width),)
    )
    return (
        *query,
        linear("latent down-projection", hidden, latent),
        linear("latent up-projection", group.kv_lora_rank, heads * (group.qk_nope_head_dim + group.v_head_dim)),
        linear("output projection", heads * group.v_head_dim, hidden),
        *(_indexer_linears(group, group.indexer, hidden, index) if group.indexer else ()),
    )


def _indexer_linears(group: LatentAttention, indexer: Indexer, hidden: int, index: int) -> tuple[Linear, ...]:
    """The indexer runs whole on every rank, in the layers that keep an index."""
    width = indexer.heads * indexer.head_dim
    layers = indexer.cache_layers
    return (
        Linear("attention", "indexer queries", "attention", layers, group.q_lora_rank or hidden, width, group=index),
        Linear("attention", "indexer keys", "attention", layers, hidden, indexer.head_dim + indexer.heads, group=index),
    )


def _state_linears(group: LinearState, hidden: int, index: int, tp: int) -> tuple[Linear, ...]:
    width = group.parameters / hidden / tp
    return (Linear("attention", "state mixer", "attention", group.layers, hidden, width, group=index),)


def feed_forward_linears(model: ModelSpec, index: int, deployment: Deployment) -> tuple[Linear, ...]:
    """The matrices of feed-forward group ``index`` on one rank."""
    own = _feed_forward_matrices(model, index, deployment)
    if model.factored is None:
        return own
    return _factors(own, _feed_forward_matrices(model, index, Deployment()), model.factored.keep)


def _feed_forward_matrices(model: ModelSpec, index: int, deployment: Deployment) -> tuple[Linear, ...]:
    group = model.feed_forward[index]
    hidden = model.hidden_size
    if isinstance(group, DenseFeedForward):
        return _network(group.layers, hidden, group.intermediate_size / deployment.tp, group.matrices, index)
    return _experts(group, hidden, index, deployment)


def _network(
    layers: float, hidden: int, width: float, matrices: int, index: int, prefix: str = ""
) -> tuple[Linear, ...]:
    up = "gate and up" if matrices == 3 else "up"
    owner: Owner = "feed-forward"
    return (
        Linear(owner, f"{prefix}{up} projection", "feed_forward", layers, hidden, (matrices - 1) * width, group=index),
        Linear(owner, f"{prefix}down projection", "feed_forward", layers, width, hidden, group=index),
    )


def _experts(group: ExpertFeedForward, hidden: int, index: int, deployment: Deployment) -> tuple[Linear, ...]:
    on_rank = group.experts / deployment.ep
    width = group.intermediate_size / deployment.expert_tp
    up = f"experts' {'gate and up' if group.gated else 'up'} projection"
    both = (group.matrices - 1) * width
    routed = (
        Linear("feed-forward", "router", "router", group.layers, hidden, group.experts, group=index),
        Linear("feed-forward", up, "experts", group.layers, hidden, both, on_rank, index),
        Linear("feed-forward", "experts' down projection", "experts", group.layers, width, hidden, on_rank, index),
    )
    if not group.shared_intermediate_size:
        return routed
    shared = group.shared_intermediate_size / deployment.tp
    return (*routed, *_network(group.layers, hidden, shared, group.matrices, index, "shared expert's "))


def head_linear(model: ModelSpec, tp: int) -> Linear:
    """The LM head on one rank: the vocabulary split evenly."""
    return Linear("head", "LM head", "lm_head", 1, model.hidden_size, model.vocab_size / tp)


def embedding_linear(model: ModelSpec, tp: int) -> Linear:
    """The embedding table on one rank (looked up, never multiplied); learned positions are replicated."""
    rows = model.vocab_size / tp + model.learned_positions
    return Linear("head", "embedding", "embedding", 1, model.hidden_size, rows)
