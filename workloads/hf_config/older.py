"""Decoders before Llama: ungated networks, biases, learned positions, parallel blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kvwall.workloads.hf_config.groups import Fields, body, head_groups, heads
from kvwall.workloads.hf_config.reader import Config
from kvwall.workloads.model_spec import DenseFeedForward, FeedForwardGroup


def _ungated(layers: int, size: int, bias: bool) -> tuple[FeedForwardGroup, ...]:
    return (DenseFeedForward(kind="dense", layers=layers, intermediate_size=size, gated=False, bias=bias),)


def read_gpt2(config: Config) -> Fields:
    """GPT-2: learned positions, biases, tied embedding."""
    fields = body(config, tied=True)
    shape = heads(config) | {"qkv_bias": True, "output_bias": True}
    size = config.optional_count("n_inner") or 4 * fields["hidden_size"]
    return fields | {
        "attention": head_groups(["full"] * fields["layers"], None, shape),
        "feed_forward": _ungated(fields["layers"], size, bias=True),
        "learned_positions": fields["max_context"],
        "norm_bias": True,
    }


def read_gptj(config: Config) -> Fields:
    """GPT-J: one norm feeds attention and network in parallel; biases in the network and the output head."""
    fields = body(config)
    size = config.optional_count("n_inner") or 4 * fields["hidden_size"]
    return fields | {
        "attention": head_groups(["full"] * fields["layers"], None, heads(config)),
        "feed_forward": _ungated(fields["layers"], size, bias=True),
        "norm_matrices": 1,
        "norm_bias": True,
        "lm_head_bias": True,
    }


def read_opt(config: Config) -> Fields:
    """OPT: learned positions with two spare rows, biases, tied embedding."""
    fields = body(config, tied=True)
    hidden = fields["hidden_size"]
    if config.count("word_embed_proj_dim", default=hidden) != hidden:
        raise config.error("word_embed_proj_dim", f"an embedding narrower than hidden_size {hidden} is not understood")
    bias = config.flag("enable_bias", True)
    shape = heads(config) | {"qkv_bias": bias, "output_bias": bias}
    return fields | {
        "attention": head_groups(["full"] * fields["layers"], None, shape),
        "feed_forward": _ungated(fields["layers"], config.count("ffn_dim"), bias),
        "learned_positions": fields["max_context"] + 2,
        "norm_bias": True,
    }


def read_phi(config: Config) -> Fields:
    """Phi-1 and Phi-2: one norm feeds attention and network in parallel; biases everywhere."""
    fields = body(config)
    shape = heads(config) | {"qkv_bias": True, "output_bias": True}
    size = config.optional_count("intermediate_size") or 4 * fields["hidden_size"]
    return fields | {
        "attention": head_groups(["full"] * fields["layers"], None, shape),
        "feed_forward": _ungated(fields["layers"], size, bias=True),
        "norm_matrices": 1,
        "norm_bias": True,
        "lm_head_bias": True,
    }


def read_falcon(config: Config) -> Fields:
    """Falcon: one KV head (``multi_query``) or ``num_kv_heads`` of them (``new_decoder_architecture``).

    Checkpoints store the output head beside the embedding, although engines tie the two.
    """
    fields = body(config)
    layers = fields["layers"]
    grouped = config.flag("new_decoder_architecture", False)
    multi_query = config.flag("multi_query", True)
    stated = config.optional_count("num_kv_heads")
    kv_heads = stated if grouped else 1 if multi_query else None
    bias = config.flag("bias", False)
    shape = heads(config, kv_heads=kv_heads) | {"qkv_bias": bias, "output_bias": bias}
    parallel = config.flag("parallel_attn", True)
    norms = config.count("num_ln_in_parallel_attn", default=2 if grouped else 1 if parallel else 2)
    return fields | {
        "attention": head_groups(["full"] * layers, None, shape),
        "feed_forward": _ungated(layers, config.count("ffn_hidden_size", default=4 * fields["hidden_size"]), bias),
        "norm_matrices": norms,
        "norm_bias": True,
    }


FAMILIES: Mapping[str, Callable[[Config], Fields]] = {
    "gpt2": read_gpt2,
    "gptj": read_gptj,
    "opt": read_opt,
    "phi": read_phi,
    "falcon": read_falcon,
}
