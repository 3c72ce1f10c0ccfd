"""Layer groups from the keys that most families share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kvwall.workloads.hf_config.reader import Config
from kvwall.workloads.model_spec import (
    AttentionGroup,
    DenseFeedForward,
    ExpertFeedForward,
    FeedForwardGroup,
    HeadAttention,
    LinearState,
)

#: Fields of a :class:`~kvwall.workloads.model_spec.ModelSpec`, provenance left out.
Fields = dict[str, Any]

#: Entries of ``layer_types`` that mean layers with keys and values.
HEAD_LAYERS: Mapping[str, str] = {
    "full_attention": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "chunked",
}


#: Layers are listed one by one: more than any real model has would only fill the memory.
_MOST_LAYERS = 10_000


def layer_count(config: Config) -> int:
    """The number of layers."""
    key, _ = config.first("num_hidden_layers", "n_layer", "num_layers")
    layers = config.count("num_hidden_layers", "n_layer", "num_layers")
    if layers > _MOST_LAYERS:
        raise config.error(key, f"{layers} is more than {_MOST_LAYERS} layers")
    return layers


def body(config: Config, tied: bool = False) -> Fields:
    """What every family has: layers, width, vocabulary, context and whether the embedding is tied by default."""
    return {
        "layers": layer_count(config),
        "hidden_size": config.count("hidden_size", "n_embd"),
        "vocab_size": config.count("vocab_size"),
        "max_context": config.count("max_position_embeddings", "n_positions", "seq_length", default=2048),
        "tied_embeddings": config.tied(tied),
    }


def heads(
    config: Config, q_heads: int | None = None, kv_heads: int | None = None, head_dim: int | None = None
) -> dict[str, int]:
    """Query heads, KV heads (as many as query heads when absent) and their width (hidden over heads when absent).

    ``q_heads``, ``kv_heads`` and ``head_dim`` are the defaults of a family whose configs leave the keys out.
    """
    q_key, _ = config.first("num_attention_heads", "n_head")
    q_heads = config.count("num_attention_heads", "n_head", default=q_heads)
    kv_heads = config.count("num_key_value_heads", default=kv_heads or q_heads)
    if q_heads % kv_heads:
        raise config.error(q_key, f"{q_heads} is not a multiple of num_key_value_heads {kv_heads}")
    head_dim = config.optional_count("head_dim", "attention_head_dim") or head_dim
    if head_dim is None:
        hidden = config.count("hidden_size", "n_embd")
        if hidden % q_heads:
            raise config.error(q_key, f"{q_heads} does not divide hidden_size {hidden}, and there is no head_dim")
        head_dim = hidden // q_heads
    return {"q_heads": q_heads, "kv_heads": kv_heads, "head_dim": head_dim}


def head_groups(kinds: Iterable[str], window: int | None, shape: Mapping[str, Any]) -> tuple[AttentionGroup, ...]:
    """One group per kind among the ``kinds`` of the layers; other kinds than those with heads are left out."""
    layers = Counter(kinds)
    return tuple(
        HeadAttention(kind=kind, layers=layers[kind], window=None if kind == "full" else window, **shape)
        for kind in ("full", "sliding", "chunked")
        if layers[kind]
    )


def layer_kinds(config: Config, layers: int, default: Sequence[str]) -> tuple[str, ...]:
    """The kind of each layer from ``layer_types``, or ``default``; windows only where a window is given."""
    kinds = config.choices("layer_types", HEAD_LAYERS, layers) or tuple(default)
    if "sliding" in kinds and config.value("sliding_window") is None:
        raise config.error("sliding_window", "is missing, but layer_types has sliding_attention")
    if "chunked" in kinds and config.value("attention_chunk_size") is None:
        raise config.error("attention_chunk_size", "is missing, but layer_types has chunked_attention")
    return kinds


def plain_attention(config: Config, layers: int, *, windows: bool = False, **flags: bool) -> tuple[AttentionGroup, ...]:
    """Attention whose layers are alike.

    :param windows: a ``sliding_window`` shorter than the context makes all layers sliding; else it is left unread
    """
    window = config.optional_count("sliding_window", lowest=0) or None if windows else None
    context = config.optional_count("max_position_embeddings")
    windowed = window is not None and (context is None or window < context)
    kinds = layer_kinds(config, layers, ["sliding" if windowed else "full"] * layers)
    return head_groups(kinds, window, heads(config) | flags)


def dense(config: Config, layers: int, **flags: bool) -> tuple[FeedForwardGroup, ...]:
    """Feed-forward layers that every token visits."""
    size = config.count("intermediate_size")
    return (DenseFeedForward(kind="dense", layers=layers, intermediate_size=size, **flags),)


def feed_forward(
    dense_layers: int, dense_size: int | None, expert_layers: int, **expert: Any
) -> tuple[FeedForwardGroup, ...]:
    """Dense layers (if any) and layers with experts (if any)."""
    groups: list[FeedForwardGroup] = []
    if dense_layers:
        groups.append(DenseFeedForward(kind="dense", layers=dense_layers, intermediate_size=dense_size or 0))
    if expert_layers:
        groups.append(ExpertFeedForward(kind="moe", layers=expert_layers, **expert))
    return tuple(groups)


def state_groups(layers: int, parameters: int, ssm_bytes: int, conv_bytes: int) -> tuple[AttentionGroup, ...]:
    """Layers with a constant state, if any."""
    if not layers:
        return ()
    state = LinearState(kind="linear", layers=layers, parameters=parameters, ssm_bytes=ssm_bytes, conv_bytes=conv_bytes)
    return (state,)
