"""Decoders that mix attention with layers of constant state: delta nets and Mamba."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kvwall.workloads.hf_config.groups import Fields, body, feed_forward, head_groups, heads, state_groups
from kvwall.workloads.hf_config.mixture import mtp_layers, qwen_experts
from kvwall.workloads.hf_config.reader import Config
from kvwall.workloads.model_spec import (
    AttentionGroup,
    DenseFeedForward,
    ExpertFeedForward,
    FeedForwardGroup,
)

#: Engines keep the state of Mamba-1 and of convolutions in 16 bits.
_BF16_BYTES = 2


def _state_value_bytes(config: Config) -> int:
    """Bytes of one value of the recurrent state of a delta net or of Mamba-2: FP32 unless the config says otherwise."""
    key, dtype = config.first("mamba_ssm_dtype", "mamba_ssm_cache_dtype")
    widths = {"float32": 4, "bfloat16": 2, "float16": 2}
    if dtype is None:
        return widths["float32"]
    if not isinstance(dtype, str) or dtype not in widths:
        raise config.error(key, f"unknown dtype {dtype!r:.60} (allowed: {', '.join(widths)})")
    return widths[dtype]


def _delta_net(config: Config, layers: int) -> tuple[AttentionGroup, ...]:
    """Gated delta net: ``D*(2*k + 2*v) + D*2*h + (2*k + v)*K + 2*h + d_v + v*D`` parameters.

    ``k`` and ``v`` are the widths of all keys and of all values, ``h`` the value heads, ``K`` the kernel
    (arXiv 2412.06464 and the Qwen3-Next layer of transformers).
    """
    hidden = config.count("hidden_size")
    value_heads, value_dim = config.count("linear_num_value_heads"), config.count("linear_value_head_dim")
    key_dim = config.count("linear_key_head_dim")
    keys, values = config.count("linear_num_key_heads") * key_dim, value_heads * value_dim
    kernel = config.count("linear_conv_kernel_dim")
    channels = 2 * keys + values
    parameters = (
        hidden * (channels + values)
        + hidden * 2 * value_heads
        + channels * kernel
        + 2 * value_heads
        + value_dim
        + values * hidden
    )
    return state_groups(
        layers,
        parameters,
        ssm_bytes=value_heads * key_dim * value_dim * _state_value_bytes(config),
        conv_bytes=channels * (kernel - 1) * _BF16_BYTES,
    )


def read_qwen3_next(config: Config) -> Fields:
    """Qwen3-Next and Qwen3.5: gated delta nets with gated full attention in every fourth layer."""
    fields = body(config)
    layers = fields["layers"]
    period = config.count("full_attention_interval", default=4)
    kinds = config.choices("layer_types", {"full_attention": "full", "linear_attention": "linear"}, layers) or tuple(
        "linear" if (index + 1) % period else "full" for index in range(layers)
    )
    flags = {"qk_norm": True, "output_gate": config.flag("attn_output_gate", True)}
    full = head_groups(kinds, None, heads(config) | flags | {"qkv_bias": config.flag("attention_bias", False)})
    return fields | {
        "attention": full + _delta_net(config, kinds.count("linear")),
        "feed_forward": qwen_experts(config, layers),
        "mtp_layers": mtp_layers(config),
    }


def _mamba1(config: Config, layers: int) -> tuple[AttentionGroup, ...]:
    """Mamba with norms on its step, input and output vectors (arXiv 2312.00752, 2403.19887).

    ``D*2*I + I*(K + 1) + I*(R + 2*N) + R*I + I + I*N + I + I*D + R + 2*N`` parameters.
    """
    hidden = config.count("hidden_size")
    inner = config.count("mamba_expand", default=2) * hidden
    states, kernel = config.count("mamba_d_state", default=16), config.count("mamba_d_conv", default=4)
    rank = -(-hidden // 16) if config.value("mamba_dt_rank") in (None, "auto") else config.count("mamba_dt_rank")
    biases = inner * config.flag("mamba_conv_bias", True)
    biases += (2 * inner + hidden) * config.flag("mamba_proj_bias", False)
    parameters = hidden * 3 * inner + inner * kernel + inner * (2 * rank + 2 * states) + biases
    parameters += inner * (states + 2) + rank + 2 * states
    return state_groups(
        layers,
        parameters,
        ssm_bytes=inner * states * _BF16_BYTES,
        conv_bytes=inner * (kernel - 1) * _BF16_BYTES,
    )


def read_jamba(config: Config) -> Fields:
    """Jamba: attention and experts at fixed periods and offsets, Mamba elsewhere."""
    fields = body(config)
    layers = fields["layers"]
    every, offset = config.count("attn_layer_period", default=8), config.optional_count("attn_layer_offset", lowest=0)
    full = sum(index % every == (4 if offset is None else offset) for index in range(layers))
    expert_every = config.count("expert_layer_period", default=2)
    expert_offset = config.optional_count("expert_layer_offset", lowest=0)
    sparse = sum(index % expert_every == (1 if expert_offset is None else expert_offset) for index in range(layers))
    size = config.count("intermediate_size")
    experts = config.count("num_experts", default=16)
    sparse = sparse if experts > 1 else 0
    expert = {"experts": experts, "experts_per_token": config.count("num_experts_per_tok", default=2)}
    return fields | {
        "attention": head_groups(["full"] * full, None, heads(config)) + _mamba1(config, layers - full),
        "feed_forward": feed_forward(layers - sparse, size, sparse, intermediate_size=size, **expert),
    }


def _mamba2(
    config: Config, layers: int, number: int, width: int, groups: int, states: int, kernel: int, conv_bias: bool
) -> tuple[AttentionGroup, ...]:
    """Mamba-2 with ``h`` heads of ``p`` channels: ``D*(2*I + 2*G*N + h) + C*(K + 1) + 3*h + I + I*D`` parameters.

    ``I = h*p`` and ``C = I + 2*G*N`` convolution channels (arXiv 2405.21060).
    """
    hidden, inner = config.count("hidden_size"), number * width
    channels = inner + 2 * groups * states
    parameters = hidden * (inner + channels + number) + channels * (kernel + conv_bias) + 3 * number
    parameters += inner + inner * hidden
    return state_groups(
        layers,
        parameters,
        ssm_bytes=number * width * states * _state_value_bytes(config),
        conv_bytes=channels * (kernel - 1) * _BF16_BYTES,
    )


def read_bamba(config: Config) -> Fields:
    """Bamba: full attention in the layers of ``attn_layer_indices``, Mamba-2 elsewhere."""
    fields = body(config)
    layers, hidden = fields["layers"], fields["hidden_size"]
    full = len(config.indices("attn_layer_indices"))
    number = config.count("mamba_n_heads")
    inner = config.count("mamba_expand", default=2) * hidden
    automatic = config.value("mamba_d_head") in (None, "auto")
    width = inner // number if automatic else config.count("mamba_d_head")
    if number * width != inner:
        raise config.error("mamba_n_heads", f"{number} heads of {width} are not mamba_expand x hidden_size = {inner}")
    if config.flag("mamba_proj_bias", False):
        raise config.error("mamba_proj_bias", "biases on the projections are not understood for 'bamba'")
    config.ignore("mamba_chunk_size")
    mamba = _mamba2(
        config,
        layers - full,
        number,
        width,
        groups=config.count("mamba_n_groups", default=1),
        states=config.count("mamba_d_state"),
        kernel=config.count("mamba_d_conv", default=4),
        conv_bias=config.flag("mamba_conv_bias", True),
    )
    size = config.count("intermediate_size")
    return fields | {
        "attention": head_groups(["full"] * full, None, heads(config)) + mamba,
        "feed_forward": feed_forward(layers, size, 0),
    }


def _nemotron_networks(config: Config, dense_layers: int, expert_layers: int) -> tuple[FeedForwardGroup, ...]:
    groups: list[FeedForwardGroup] = []
    if dense_layers:
        size = config.count("intermediate_size")
        groups.append(DenseFeedForward(kind="dense", layers=dense_layers, intermediate_size=size, gated=False))
    if expert_layers:
        shared = config.optional_count("moe_shared_expert_intermediate_size", lowest=0) or 0
        expert = ExpertFeedForward(
            kind="moe",
            layers=expert_layers,
            experts=config.count("n_routed_experts"),
            experts_per_token=config.count("num_experts_per_tok"),
            intermediate_size=config.count("moe_intermediate_size"),
            shared_intermediate_size=shared * (config.optional_count("n_shared_experts", lowest=0) or 0),
            gated=False,
        )
        groups.append(expert)
    return tuple(groups)


def read_nemotron_h(config: Config) -> Fields:
    """Nemotron-H and Nemotron 3: one mixer or one network per layer, by a pattern of letters or a list of words."""
    fields = body(config)
    letters = {"M": "mamba", "*": "full", "-": "dense", "E": "moe"}
    words = {"mamba": "mamba", "attention": "full", "mlp": "dense", "moe": "moe"}
    kinds = config.choices("layers_block_type", words, fields["layers"])
    kinds = config.choices("hybrid_override_pattern", letters, fields["layers"]) or kinds
    if kinds is None:
        raise config.error("hybrid_override_pattern", "is missing, and there is no layers_block_type")
    mamba = _mamba2(
        config,
        kinds.count("mamba"),
        config.count("mamba_num_heads"),
        config.count("mamba_head_dim"),
        groups=config.count("n_groups"),
        states=config.count("ssm_state_size"),
        kernel=config.count("conv_kernel", default=4),
        conv_bias=config.flag("use_conv_bias", True),
    )
    config.ignore("mamba_hidden_act", "mtp_layers_block_type")
    return fields | {
        "attention": head_groups(kinds, None, heads(config)) + mamba,
        "feed_forward": _nemotron_networks(config, kinds.count("dense"), kinds.count("moe")),
        "norm_matrices": 1,
        "mtp_layers": mtp_layers(config),
    }


FAMILIES: Mapping[str, Callable[[Config], Fields]] = {
    "qwen3_next": read_qwen3_next,
    "qwen3_5": read_qwen3_next,
    "qwen3_5_text": read_qwen3_next,
    "qwen3_5_moe": read_qwen3_next,
    "qwen3_5_moe_text": read_qwen3_next,
    "jamba": read_jamba,
    "bamba": read_bamba,
    "nemotron_h": read_nemotron_h,
}
