"""How a paged engine lays a hybrid cache out: one page size for all layers, and groups of equally many layers.

Where layers differ (full, windowed, recurrent), the engine makes their pages equally large, so that one pool of blocks
serves them all: the block of an attention layer grows until it holds a recurrent state, or until its bytes match the
widest layer's. Layers of one kind are cut into groups of as many layers as the rarest kind has, and one block is one
page in every layer of a group. A request then takes whole blocks of every group.

Reference: vLLM source, v1/core/kv_cache_utils.py and v1/kv_cache_interface.py; vllm-project/vllm#43308, #51041.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

import numpy as np

from kvwall.simulator.cache import CacheGroup
from kvwall.simulator.dense import Paging
from kvwall.simulator.kept import kept_cache
from kvwall.simulator.setup import Setup
from kvwall.simulator.traffic import Array, Numeric
from kvwall.simulator.weights_memory import stage_share
from kvwall.workloads.model_spec import LinearState

#: Every token of every layer, windowed or not, and one state: what a page is made of.
_UNBOUNDED = Paging(1, float("inf"), 1.0)
_NEAR_TOKENS, _FAR_TOKENS = 2.0**20, 2.0**21
#: A kind with up to a quarter more layers than the rarest is one padded group instead of two.
_PADDED_GROUP = 1.25
#: Tokens that a causal convolution of width 4 remembers.
_CONVOLUTION_ROWS = 3


@dataclass(frozen=True)
class PageKind:
    """Alike layers of one rank.

    :ivar layers: layers of the rank that own a cache
    :ivar token_bytes: bytes of one token in one layer; 0 for a recurrent state
    :ivar state_bytes: bytes of one state in one layer; 0 for attention
    :ivar window: tokens that a layer sees, if it is bounded
    :ivar block_tokens: tokens of one page; 0 for a state
    :ivar groups: groups that the layers are cut into
    """

    layers: int
    token_bytes: float
    state_bytes: float = 0.0
    window: int | None = None
    block_tokens: int = 0
    groups: int = 1


@dataclass(frozen=True)
class PageLayout:
    """Pages of all kinds of layers, equally large.

    :ivar kinds: the kinds of layers
    :ivar page_bytes: one page of one layer
    :ivar group_layers: layers of one group, padding included
    :ivar batched_tokens: tokens of one engine pass, which a window keeps beside itself
    :ivar state_pages: pages that one sequence takes of each recurrent state
    :ivar dcp: ranks over which the tokens of a sequence are split
    :ivar resident: whether all of it lies in device memory, for one sequence alone, so that its blocks are the pool's
    """

    kinds: tuple[PageKind, ...]
    page_bytes: float
    group_layers: int
    batched_tokens: int
    state_pages: float
    dcp: int = 1
    resident: bool = True

    @property
    def block_bytes(self) -> float:
        """One block of the pool: a page in every layer of a group."""
        return self.page_bytes * self.group_layers

    @property
    def groups(self) -> int:
        """Groups of all kinds."""
        return sum(kind.groups for kind in self.kinds)

    @property
    def smallest_block_tokens(self) -> int:
        """Tokens of the shortest block."""
        return min(kind.block_tokens for kind in self.kinds if kind.block_tokens)

    @property
    def largest_state_bytes(self) -> float:
        """The largest recurrent state of one layer; 0 where there is none."""
        return max(kind.state_bytes for kind in self.kinds)

    def blocks(self, kv_bytes: float) -> float:
        """Whole blocks of a pool of ``kv_bytes``: ``floor(kv / block bytes)``."""
        return max(0.0, float(np.floor(kv_bytes / self.block_bytes * (1 + 1e-12))))

    def request_blocks(self, context: Numeric) -> Array:
        """Blocks of one request of ``context`` tokens.

        Full layers: ``ceil(context / block)``; windowed: ``ceil(min(context, window - 1 + batched) / block) + 1``;
        states: ``state_pages``; each once per group.
        """
        tokens = np.asarray(context, dtype=np.float64)
        total = np.zeros_like(tokens)
        for kind in self.kinds:
            if not kind.block_tokens:
                total = total + kind.groups * self.state_pages
            elif kind.window is None:
                total = total + kind.groups * np.ceil(np.ceil(tokens / self.dcp) / kind.block_tokens)
            else:
                kept = np.minimum(tokens, kind.window - 1 + self.batched_tokens)
                total = total + kind.groups * (np.ceil(kept / kind.block_tokens) + 1)
        return np.asarray(total)


def page_layout(setup: Setup) -> PageLayout | None:
    """The layout of the cache of ``setup`` on its fullest rank.

    ``None`` where the engine has no unified pages, where all layers keep every token (blocks are then plain), or where
    a scheme keeps something else than all tokens of a layer.
    """
    if not setup.engine.unified_pages:
        return None
    kinds = _kinds(setup)
    attention = [kind for kind in kinds or () if kind.token_bytes]
    if kinds is None or not attention or not any(kind.window or kind.state_bytes for kind in kinds):
        return None
    widest = max(kind.token_bytes for kind in attention)
    state = max(kind.state_bytes for kind in kinds)
    block = setup.block * max(1, ceil(state / (setup.block * widest) * (1 - 1e-12)))
    page_bytes = block * widest
    size = _group_layers(kind.layers for kind in kinds)
    laid = tuple(
        PageKind(
            kind.layers,
            kind.token_bytes,
            kind.state_bytes,
            kind.window,
            block_tokens=int(page_bytes / kind.token_bytes * (1 + 1e-12)) if kind.token_bytes else 0,
            groups=-(-kind.layers // size),
        )
        for kind in kinds
    )
    pages = setup.engine.state_pages_per_sequence + _draft_tokens(setup)
    resident = _is_resident(setup)
    return PageLayout(laid, page_bytes, size, setup.batched_tokens, pages, setup.deployment.dcp, resident)


def _draft_tokens(setup: Setup) -> int:
    """Tokens drafted ahead: each keeps a state page of its own, to go back to, and one more row of the convolution."""
    return setup.speculation.tokens if setup.speculation else 0


def _is_resident(setup: Setup) -> bool:
    cache = kept_cache(setup.model, setup.stack, 1.0, _NEAR_TOKENS, _UNBOUNDED)
    if np.any(np.asarray(cache.shared_prefix) > 0):
        return False
    return bool(np.isclose(float(cache.stored_bytes("hbm")), float(cache.stored_bytes()), rtol=1e-9))


def _group_layers(layers: Iterable[int]) -> int:
    """Layers of one group: as many as the rarest kind has, or as the commonest where they hardly differ."""
    counts = list(layers)
    return max(counts) if max(counts) < min(counts) * _PADDED_GROUP else min(counts)


def _kinds(setup: Setup) -> list[PageKind] | None:
    """Kinds of layers with their bytes on one rank; ``None`` where a layer does not grow in step with its tokens."""
    near, far = (
        kept_cache(setup.model, setup.stack, 1.0, tokens, _UNBOUNDED).groups for tokens in (_NEAR_TOKENS, _FAR_TOKENS)
    )
    share = stage_share(setup.model.layers, setup.deployment.pp)
    found = []
    for one, other in zip(near, far, strict=True):
        first, second = (_layer_bytes(group, setup.deployment.attention_tp) for group in (one, other))
        layers = max(1, ceil(one.layers * share - 1e-9))
        per_token = (second - first) / (_FAR_TOKENS - _NEAR_TOKENS)
        if one.kind == "linear":
            rows = _draft_row_bytes(setup, one.index) / setup.deployment.attention_tp
            found.append(PageKind(layers, 0.0, first + rows))
        elif abs(first - per_token * _NEAR_TOKENS) > 1e-6 * first or first <= 0:
            return None
        else:
            found.append(PageKind(layers, per_token, 0.0, one.window))
    return found


def _layer_bytes(group: CacheGroup, tp: int) -> float:
    """What one layer of one rank keeps for one sequence, wherever it lies."""
    return float(sum(float(t.share(tp) * t.stored_bytes()) for t in group.tensors))


def _draft_row_bytes(setup: Setup, index: int) -> float:
    """Rows that a convolution state of the unsplit model grows by when tokens are drafted."""
    group = setup.model.attention[index]
    conv_bytes = group.conv_bytes if isinstance(group, LinearState) else 0
    return conv_bytes / _CONVOLUTION_ROWS * _draft_tokens(setup)
