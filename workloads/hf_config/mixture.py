"""Decoders whose feed-forward layers are experts, with keys and values per head."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kvwall.workloads.hf_config.groups import (
    Fields,
    body,
    feed_forward,
    head_groups,
    heads,
    layer_count,
    layer_kinds,
    plain_attention,
)
from kvwall.workloads.hf_config.plain import qwen_attention_kinds
from kvwall.workloads.hf_config.reader import Config
from kvwall.workloads.model_spec import FeedForwardGroup


def read_mixtral(config: Config) -> Fields:
    """Mixtral: experts in every layer."""
    fields = body(config)
    return fields | {
        "attention": plain_attention(config, fields["layers"], windows=True),
        "feed_forward": feed_forward(
            0,
            None,
            fields["layers"],
            experts=config.count("num_local_experts"),
            experts_per_token=config.count("num_experts_per_tok"),
            intermediate_size=config.count("intermediate_size"),
        ),
    }


def read_phimoe(config: Config) -> Fields:
    """Phi-3.5-MoE: as Mixtral, with biases on the projections, the norms and the output head."""
    bias = config.flag("attention_bias", False)
    attention = plain_attention(config, layer_count(config), windows=True, qkv_bias=bias, output_bias=bias)
    head_bias = config.flag("lm_head_bias", False)
    return read_mixtral(config) | {"attention": attention, "norm_bias": True, "lm_head_bias": head_bias}


def qwen_experts(config: Config, layers: int) -> tuple[FeedForwardGroup, ...]:
    """Feed-forward layers of Qwen: experts in every ``decoder_sparse_step``-th layer but ``mlp_only_layers``."""
    experts = config.optional_count("num_experts", lowest=0)
    if not experts:
        return feed_forward(layers, config.count("intermediate_size"), 0)
    step = config.count("decoder_sparse_step", default=1)
    always_dense = set(config.indices("mlp_only_layers"))
    sparse = sum(index not in always_dense and (index + 1) % step == 0 for index in range(layers))
    shared = config.optional_count("shared_expert_intermediate_size", lowest=0) or 0
    return feed_forward(
        layers - sparse,
        config.count("intermediate_size") if sparse < layers else None,
        sparse,
        experts=experts,
        experts_per_token=config.count("num_experts_per_tok"),
        intermediate_size=config.count("moe_intermediate_size"),
        shared_intermediate_size=shared,
        shared_expert_gate=shared > 0,
    )


def _read_qwen_moe(config: Config, **flags: bool) -> Fields:
    fields = body(config)
    kinds, window = qwen_attention_kinds(config, fields["layers"])
    return fields | {
        "attention": head_groups(kinds, window, heads(config) | flags),
        "feed_forward": qwen_experts(config, fields["layers"]),
    }


def read_qwen2_moe(config: Config) -> Fields:
    """Qwen1.5-MoE and Qwen2-57B: biases on queries, keys and values, a gated shared expert."""
    return _read_qwen_moe(config, qkv_bias=config.flag("qkv_bias", True))


def read_qwen3_moe(config: Config) -> Fields:
    """Qwen3-30B-A3B and larger: norms on queries and keys, no shared expert."""
    bias = config.flag("attention_bias", False)
    return _read_qwen_moe(config, qk_norm=True, qkv_bias=bias, output_bias=bias)


def read_minimax_m2(config: Config) -> Fields:
    """MiniMax-M2: full attention everywhere, each head with norm vectors of its own."""
    fields = body(config)
    if set(config.indices("attn_type_list")) - {1}:
        raise config.error("attn_type_list", "has entries other than 1 (full attention)")
    if config.optional_count("shared_intermediate_size", lowest=0):
        raise config.error("shared_intermediate_size", "a shared expert is not understood for 'minimax_m2'")
    config.ignore("qk_norm_type")
    norm = config.flag("use_qk_norm", True)
    return read_mixtral(config) | {
        "attention": plain_attention(config, fields["layers"], qk_norm=norm, qk_norm_per_head=norm)
    }


def leading_dense_experts(config: Config, layers: int) -> tuple[FeedForwardGroup, ...]:
    """Feed-forward layers of DeepSeek and GLM: ``first_k_dense_replace`` dense layers, then experts."""
    experts = config.optional_count("n_routed_experts")
    if experts is None:
        return feed_forward(layers, config.count("intermediate_size"), 0)
    if config.count("moe_layer_freq", default=1) != 1:
        raise config.error("moe_layer_freq", "only 1 (experts in every layer after the dense ones) is understood")
    lead = min(layers, config.optional_count("first_k_dense_replace", lowest=0) or 0)
    kinds = config.choices("mlp_layer_types", {"dense": "dense", "sparse": "sparse"}, layers)
    lead = kinds.count("dense") if kinds else lead
    size = config.count("moe_intermediate_size")
    return feed_forward(
        lead,
        config.count("intermediate_size") if lead else None,
        layers - lead,
        experts=experts,
        experts_per_token=config.count("num_experts_per_tok"),
        intermediate_size=size,
        shared_intermediate_size=size * (config.optional_count("n_shared_experts", lowest=0) or 0),
    )


def mtp_layers(config: Config) -> int:
    """Multi-token-prediction layers that the checkpoint ships."""
    return config.optional_count("num_nextn_predict_layers", "mtp_num_hidden_layers", lowest=0) or 0


def read_glm4_moe(config: Config) -> Fields:
    """GLM-4.5 and later: biases on queries, keys and values, and norms on queries and keys of the larger one."""
    fields = body(config)
    flags = {"qkv_bias": config.flag("attention_bias", False), "qk_norm": config.flag("use_qk_norm", False)}
    return fields | {
        "attention": plain_attention(config, fields["layers"], **flags),
        "feed_forward": leading_dense_experts(config, fields["layers"]),
        "mtp_layers": mtp_layers(config),
    }


def read_gpt_oss(config: Config) -> Fields:
    """gpt-oss: sliding and full layers alternate, sinks and biases everywhere."""
    fields = body(config)
    layers = fields["layers"]
    kinds = layer_kinds(config, layers, ["full" if index % 2 else "sliding" for index in range(layers)])
    bias = config.flag("attention_bias", True)
    flags = {"qkv_bias": bias, "output_bias": bias, "sinks": True}
    return fields | {
        "attention": head_groups(kinds, config.optional_count("sliding_window"), heads(config) | flags),
        "feed_forward": feed_forward(
            0,
            None,
            layers,
            experts=config.count("num_local_experts"),
            experts_per_token=config.count("num_experts_per_tok", "experts_per_token"),
            intermediate_size=config.count("intermediate_size"),
            bias=True,
        ),
    }


def read_llama4(config: Config) -> Fields:
    """Llama 4: three of four layers see the current chunk; experts in every ``interleave_moe_layer_step``-th layer."""
    fields = body(config)
    layers = fields["layers"]
    every = config.count("no_rope_layer_interval", default=4)
    rotary = config.indices("no_rope_layers") or tuple((index + 1) % every for index in range(layers))
    if len(rotary) != layers:
        raise config.error("no_rope_layers", f"has {len(rotary)} entries for {layers} layers")
    config.ignore("use_qk_norm")  # without weights
    kinds = layer_kinds(config, layers, ["chunked" if entry else "full" for entry in rotary])
    step = config.count("interleave_moe_layer_step", default=1)
    sparse = len(config.indices("moe_layers")) or layers // step
    size = config.count("intermediate_size")
    return fields | {
        "attention": head_groups(kinds, config.optional_count("attention_chunk_size"), heads(config)),
        "feed_forward": feed_forward(
            layers - sparse,
            config.count("intermediate_size_mlp") if sparse < layers else None,
            sparse,
            experts=config.count("num_local_experts"),
            experts_per_token=config.count("num_experts_per_tok"),
            intermediate_size=size,
            shared_intermediate_size=size,
        ),
    }


FAMILIES: Mapping[str, Callable[[Config], Fields]] = {
    "mixtral": read_mixtral,
    "phimoe": read_phimoe,
    "qwen2_moe": read_qwen2_moe,
    "qwen3_moe": read_qwen3_moe,
    "qwen3_vl_moe_text": read_qwen3_moe,
    "minimax_m2": read_minimax_m2,
    "glm4_moe": read_glm4_moe,
    "gpt_oss": read_gpt_oss,
    "llama4_text": read_llama4,
}
