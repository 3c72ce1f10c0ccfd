"""The dense cache of a model: what an engine keeps when no scheme is in force (16 bits per element)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kvwall.simulator.cache import Bits, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.traffic import Array, Numeric
from kvwall.workloads.model_spec import HeadAttention, LatentAttention, LinearState, ModelSpec

_BYTES = Bits("bytes", payload=8.0)
_FP32 = Bits("fp32", payload=32.0)


@dataclass(frozen=True, slots=True)
class Paging:
    """What an engine keeps beyond what a step needs.

    :ivar block_tokens: tokens of one block; every sequence is rounded up to whole blocks
    :ivar window_extra_tokens: tokens kept beyond a window (those of one pass); infinite where windows are not freed
    :ivar state_pages: pages that one sequence takes of each recurrent state
    :ivar window_spare_blocks: blocks of a bounded layer beyond those of its window and pass
    """

    block_tokens: int = 1
    window_extra_tokens: float = 0.0
    state_pages: float = 1.0
    window_spare_blocks: int = 1

    def tokens(self, tokens: Array) -> Array:
        """``tokens`` in whole blocks."""
        return np.ceil(tokens / self.block_tokens) * self.block_tokens

    def window(self, tokens: Array, window: int) -> Array:
        """Tokens of a bounded layer: its window and one pass, never above the context, in whole and spare blocks."""
        if not np.isfinite(self.window_extra_tokens):
            return self.tokens(tokens)
        if not self.window_extra_tokens:
            return np.minimum(self.tokens(tokens), window)
        within = np.minimum(tokens, window - 1 + self.window_extra_tokens)
        return self.tokens(within) + self.window_spare_blocks * self.block_tokens


#: No blocks, windows freed at once: what a step reads and writes.
EXACT = Paging()


def dense_cache(
    model: ModelSpec,
    batch: Numeric,
    context: Numeric,
    *,
    generated: Numeric = 0.0,
    query_tokens: Numeric = 1.0,
    prefill: bool = False,
    resident: Numeric | None = None,
    paging: Paging = EXACT,
) -> Cache:
    """The cache of ``batch`` sequences of ``context`` tokens, keys and values as the model makes them (16 bits).

    :param model: the architecture
    :param batch: sequences of one replica, as requests count; guidance runs each of them more than once
    :param context: tokens cached per sequence; broadcasts against ``batch``
    :param generated: tokens of the context that were generated
    :param query_tokens: new tokens per sequence in this step
    :param prefill: the step is a prefill, so that ``context`` includes the query tokens
    :param resident: sequences whose cache lies on the rank; ``batch`` unless given
    :param paging: blocks and pages of an engine; by default none
    """
    tokens = np.asarray(context, dtype=np.float64)
    groups = []
    for index, group in enumerate(model.attention):
        if isinstance(group, HeadAttention):
            groups.append(_heads(index, group, tokens, model.hidden_size, paging))
            if model.scales and not prefill:  # the tokens of one scale see each other as well
                groups[-1] = replace(groups[-1], attended=groups[-1].attended + query_tokens)
        elif isinstance(group, LatentAttention):
            groups.append(_latent(index, group, paging.tokens(tokens), model.hidden_size))
        else:
            groups.append(_state(index, group, paging))
    return Cache(
        groups=tuple(groups),
        batch=batch * model.guidance,
        context=tokens,
        generated=np.asarray(generated, dtype=np.float64),
        resident=(batch if resident is None else resident) * model.guidance,
        query_tokens=query_tokens,
        prefill=prefill,
    )


def _heads(index: int, group: HeadAttention, tokens: Array, hidden: int, paging: Paging) -> CacheGroup:
    kept = paging.tokens(tokens) if group.window is None else paging.window(tokens, group.window)
    attended = tokens if group.window is None else np.minimum(tokens, group.window)
    if group.kind == "chunked" and group.window is not None:
        attended = (tokens - 1) % group.window + 1
    segment = Segment("tokens", stored=kept, read=np.minimum(attended, kept))
    key = replace(segment, bits=_FP32) if group.fp32_keys else segment
    tensors = (
        Tensor("key", group.kv_heads, group.head_dim, (key,)),
        Tensor("value", group.kv_heads, group.value_dim, (segment,)),
    )
    return CacheGroup(
        index,
        group.kind,
        group.cached_layers,
        tensors,
        attended,
        window=group.window,
        q_heads=group.q_heads,
        kv_heads=group.kv_heads,
        head_dim=group.head_dim,
        value_dim=group.value_dim,
        hidden_size=hidden,
        prefill_dims=(group.head_dim, group.value_dim),
    )


def _latent(index: int, group: LatentAttention, tokens: Array, hidden: int) -> CacheGroup:
    attended = tokens if group.indexer is None else np.minimum(tokens, group.indexer.top_k)
    segment = Segment("tokens", stored=tokens, read=attended)
    tensors = [
        Tensor("latent", 0, group.kv_lora_rank, (segment,)),
        Tensor("rope key", 0, group.qk_rope_head_dim, (segment,)),
    ]
    if group.indexer is not None:
        index_segment = Segment("tokens", stored=tokens, read=tokens, bits=_BYTES)
        # Some layers borrow a neighbour's index, so the group's mean is what one layer keeps.
        share = group.indexer.cache_layers / group.layers
        tensors.append(Tensor("index key", 0, group.indexer.bytes_per_token * share, (index_segment,)))
    return CacheGroup(
        index,
        "mla",
        group.layers,
        tuple(tensors),
        attended,
        reads_known=group.indexer is None,
        q_heads=group.q_heads,
        kv_heads=1,
        head_dim=group.kv_lora_rank + group.qk_rope_head_dim,
        value_dim=group.kv_lora_rank,
        hidden_size=hidden,
        prefill_dims=(group.qk_nope_head_dim + group.qk_rope_head_dim, group.v_head_dim),
        indexer=_indexer(group),
        index_top_k=group.indexer.top_k if group.indexer else None,
    )


def _indexer(group: LatentAttention) -> tuple[float, int]:
    if group.indexer is None:
        return 0.0, 0
    return group.indexer.heads * group.indexer.cache_layers / group.layers, group.indexer.head_dim


def _state(index: int, group: LinearState, paging: Paging) -> CacheGroup:
    one = Segment("state", stored=np.float64(paging.state_pages), read=np.float64(1.0), bits=_BYTES)
    tensor = Tensor("state", 0, group.state_bytes, (one,), divisible=True)
    return CacheGroup(index, "linear", group.layers, (tensor,), np.float64(0.0))
