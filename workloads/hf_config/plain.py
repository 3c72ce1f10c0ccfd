"""Decoders in the line of Llama: rotary positions, gated feed-forward networks, KV heads of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kvwall.workloads.hf_config.groups import (
    Fields,
    body,
    dense,
    head_groups,
    heads,
    layer_count,
    layer_kinds,
    plain_attention,
)
from kvwall.workloads.hf_config.reader import Config


def read_llama(config: Config) -> Fields:
    """Llama, Granite, InternLM2: biases only where the config says so."""
    return _read_llama(config, windows=False)


def read_mistral(config: Config) -> Fields:
    """Mistral and Ministral: as Llama, with a window on all layers or on those that ``layer_types`` names."""
    return _read_llama(config, windows=True)


def _read_llama(config: Config, windows: bool) -> Fields:
    fields = body(config)
    layers = fields["layers"]
    bias = config.flag("attention_bias", False) or config.flag("bias", False)
    attention = plain_attention(config, layers, windows=windows, qkv_bias=bias, output_bias=bias)
    return fields | {"attention": attention, "feed_forward": dense(config, layers, bias=config.flag("mlp_bias", False))}


def qwen_attention_kinds(config: Config, layers: int) -> tuple[tuple[str, ...], int | None]:
    """Kinds of the layers and the window: ``sliding_window`` counts only with ``use_sliding_window``."""
    window = config.optional_count("sliding_window")
    first_windowed = config.optional_count("max_window_layers", lowest=0)
    kinds = ["full"] * layers
    if window is not None and config.flag("use_sliding_window", False):
        start = min(layers, 28 if first_windowed is None else first_windowed)
        kinds = ["full"] * start + ["sliding"] * (layers - start)
    return layer_kinds(config, layers, kinds), window


def read_qwen2(config: Config) -> Fields:
    """Qwen1.5 to Qwen2.5: biases on queries, keys and values."""
    fields = body(config)
    kinds, window = qwen_attention_kinds(config, fields["layers"])
    attention = head_groups(kinds, window, heads(config) | {"qkv_bias": True})
    return fields | {"attention": attention, "feed_forward": dense(config, fields["layers"])}


def read_qwen3(config: Config) -> Fields:
    """Qwen3: norms on queries and keys in place of biases."""
    fields = body(config)
    kinds, window = qwen_attention_kinds(config, fields["layers"])
    bias = config.flag("attention_bias", False)
    shape = heads(config) | {"qk_norm": True, "qkv_bias": bias, "output_bias": bias}
    return fields | {
        "attention": head_groups(kinds, window, shape),
        "feed_forward": dense(config, fields["layers"]),
    }


def read_phi3(config: Config) -> Fields:
    """Phi-3 and Phi-4: their window is near the context and engines cache in full."""
    fields = body(config)
    window = config.optional_count("sliding_window")
    attention = head_groups(["full"] * fields["layers"], None, heads(config))
    windowed = window is not None and window < fields["max_context"]
    notes = (f"the config names a window of {window} tokens, but the cache is kept in full",) if windowed else ()
    return fields | {"attention": attention, "feed_forward": dense(config, fields["layers"]), "notes": notes}


def read_cohere(config: Config) -> Fields:
    """Command R: one norm feeds attention and feed-forward network in parallel, the embedding is tied."""
    fields = body(config, tied=True)
    bias = config.flag("attention_bias", False)
    norm = config.flag("use_qk_norm", False)
    attention = plain_attention(
        config, fields["layers"], qkv_bias=bias, output_bias=bias, qk_norm=norm, qk_norm_per_head=norm
    )
    return fields | {"attention": attention, "feed_forward": dense(config, fields["layers"]), "norm_matrices": 1}


def read_glm(config: Config) -> Fields:
    """GLM-4 (``glm``): biases on queries, keys and values."""
    fields = body(config)
    attention = plain_attention(config, fields["layers"], qkv_bias=config.flag("attention_bias", True))
    return fields | {"attention": attention, "feed_forward": dense(config, fields["layers"])}


def read_glm4(config: Config) -> Fields:
    """GLM-4-0414 (``glm4``): as ``glm``, with a norm after each half of a layer as well."""
    return read_glm(config) | {"norm_matrices": 4}


def _window(config: Config) -> int | None:
    return config.optional_count("sliding_window")


def read_gemma2(config: Config) -> Fields:
    """Gemma 2: sliding and full layers alternate, sliding first; norms before and after each half of a layer."""
    fields = body(config, tied=True)
    layers = fields["layers"]
    kinds = layer_kinds(config, layers, ["full" if index % 2 else "sliding" for index in range(layers)])
    attention = head_groups(kinds, _window(config), heads(config))
    return fields | {"attention": attention, "feed_forward": dense(config, layers), "norm_matrices": 4}


def read_gemma3(config: Config) -> Fields:
    """Gemma 3: every sixth layer is full unless the config says otherwise.

    The larger checkpoints leave out heads, vocabulary and context; the library's defaults stand in.
    """
    fields: Fields = {
        "layers": layer_count(config),
        "hidden_size": config.count("hidden_size"),
        "vocab_size": config.count("vocab_size", default=262_208),
        "max_context": config.count("max_position_embeddings", default=131_072),
        "tied_embeddings": config.tied(True),
    }
    layers = fields["layers"]
    period = config.count("sliding_window_pattern", "_sliding_window_pattern", default=6)
    default = ["sliding" if (index + 1) % period else "full" for index in range(layers)]
    kinds = layer_kinds(config, layers, default)
    shape = heads(config, q_heads=8, kv_heads=4, head_dim=256)
    attention = head_groups(kinds, _window(config), shape | {"qk_norm": True})
    return fields | {"attention": attention, "feed_forward": dense(config, layers), "norm_matrices": 4}


FAMILIES: Mapping[str, Callable[[Config], Fields]] = {
    "llama": read_llama,
    "mistral": read_mistral,
    "ministral": read_mistral,
    "granite": read_llama,
    "internlm2": read_llama,
    "qwen2": read_qwen2,
    "qwen2_5_vl": read_qwen2,
    "qwen2_5_vl_text": read_qwen2,
    "qwen3": read_qwen3,
    "qwen3_vl_text": read_qwen3,
    "phi3": read_phi3,
    "cohere": read_cohere,
    "glm": read_glm,
    "glm4": read_glm4,
    "gemma2": read_gemma2,
    "gemma3_text": read_gemma3,
}
