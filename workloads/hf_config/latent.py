"""Decoders with multi-head latent attention: DeepSeek and those that follow it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kvwall.workloads.hf_config.groups import Fields, body, layer_count
from kvwall.workloads.hf_config.mixture import leading_dense_experts, mtp_layers
from kvwall.workloads.hf_config.reader import Config
from kvwall.workloads.model_spec import Indexer, LatentAttention


def read_latent(config: Config) -> Fields:
    """DeepSeek-V2, V3 and R1, Kimi-K2, GLM-4.7-Flash: one latent and one rotary key per token."""
    return _read(config, None)


def read_sparse_latent(config: Config) -> Fields:
    """DeepSeek-V3.2 and GLM-5: an indexer with a key of its own picks the latents to read.

    Where ``indexer_types`` says ``shared``, a layer reuses the pick of the layer before and keeps no key.
    """
    layers = layer_count(config)
    head_dim = config.count("index_head_dim")
    kinds = config.choices("indexer_types", {"full": "full", "shared": "shared"}, layers) or ("full",) * layers
    config.ignore("indexer_rope_interleave", "index_share_for_mtp_iteration")
    if config.value("indexer_types") is not None:
        config.ignore("index_topk_freq", "index_skip_topk_offset")
    indexer = Indexer(
        heads=config.count("index_n_heads"),
        head_dim=head_dim,
        cache_layers=kinds.count("full"),
        bytes_per_token=head_dim + 4,
        top_k=config.count("index_topk"),
    )
    return _read(config, indexer)


def _read(config: Config, indexer: Indexer | None) -> Fields:
    fields = body(config)
    if config.flag("attention_bias", False):
        raise config.error("attention_bias", "biases are not understood for latent attention")
    config.ignore("num_key_value_heads", "head_dim", "qk_head_dim")
    latent = LatentAttention(
        kind="mla",
        layers=fields["layers"],
        q_heads=config.count("num_attention_heads"),
        q_lora_rank=config.optional_count("q_lora_rank") or 0,
        kv_lora_rank=config.count("kv_lora_rank"),
        qk_nope_head_dim=config.count("qk_nope_head_dim"),
        qk_rope_head_dim=config.count("qk_rope_head_dim"),
        v_head_dim=config.count("v_head_dim"),
        indexer=indexer,
    )
    return fields | {
        "attention": (latent,),
        "feed_forward": leading_dense_experts(config, fields["layers"]),
        "mtp_layers": mtp_layers(config),
    }


FAMILIES: Mapping[str, Callable[[Config], Fields]] = {
    "deepseek_v2": read_latent,
    "deepseek_v3": read_latent,
    "glm4_moe_lite": read_latent,
    "kimi_k2": read_latent,
    "kimi_k25": read_latent,
    "deepseek_v32": read_sparse_latent,
    "glm_moe_dsa": read_sparse_latent,
}
