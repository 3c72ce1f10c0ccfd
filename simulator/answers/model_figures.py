"""What the cache of a model costs in 16 bits, and its layers in words."""

from __future__ import annotations

from dataclasses import dataclass

from kvwall.workloads.model_spec import AttentionGroup, HeadAttention, LatentAttention, LinearState, ModelSpec

#: Bytes of one cached element of the dense cache.
_ELEMENT_BYTES = 2


@dataclass(frozen=True)
class CachedBytes:
    """The dense 16-bit cache of one sequence.

    :ivar per_token: one more token in the layers that keep every token, indexer keys included
    :ivar windows: layers that keep a window, once it is full
    :ivar state: layers with a recurrent state
    """

    per_token: int
    windows: int
    state: int


def cached_bytes(model: ModelSpec) -> CachedBytes:
    """``per_token = 2 sum L e + index``, ``windows = 2 sum L e w``, ``state = sum L s``.

    :param model: groups of ``L`` layers with a cache, each with ``e`` values a token, a window ``w`` or a state ``s``
    """
    return CachedBytes(
        per_token=_ELEMENT_BYTES * model.growing_values_per_token + model.index_bytes_per_token,
        windows=sum(
            _ELEMENT_BYTES * group.cached_layers * group.cached_values_per_token * group.window
            for group in model.attention
            if isinstance(group, HeadAttention) and group.window is not None
        ),
        state=model.state_bytes_per_sequence,
    )


def attention_pattern(model: ModelSpec) -> str:
    """The attention groups of ``model`` in words: ``"10 full 32/16 + 52 window 1024"``; heads once if all agree."""
    parts, shown = [], ""
    for group in model.attention:
        parts.append(_group_pattern(group))
        if isinstance(group, HeadAttention):
            heads = f"{group.q_heads}/{group.kv_heads}"
            if heads != shown:
                parts[-1] += f" {heads}"
            shown = heads
    return " + ".join(parts)


def _group_pattern(group: AttentionGroup) -> str:
    if isinstance(group, LinearState):
        return f"{group.layers} state"
    if isinstance(group, LatentAttention):
        sparse = f" top {group.indexer.top_k}" if group.indexer else ""
        return f"{group.layers} mla {group.kv_lora_rank}+{group.qk_rope_head_dim}{sparse}"
    kind = {"full": "full", "sliding": f"window {group.window}", "chunked": f"chunk {group.window}"}[group.kind]
    return f"{group.layers} {kind}"
