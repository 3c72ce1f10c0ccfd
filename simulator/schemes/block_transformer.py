"""Block Transformer: lower layers attend over blocks of tokens, upper layers inside one block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.cache import Axis, Cache, CacheGroup
from kvwall.simulator.execution import Run
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.traffic import Numeric
from kvwall.workloads.model_spec import AttentionGroup, FeedForwardGroup, HeadAttention, ModelSpec


class BlockTransformer(Scheme):
    """The lower layers (block decoder) see one position per ``block_tokens`` tokens and run once per block.

    The upper ``token_share`` of the layers (token decoder) runs for every token and attends only to the tokens of its
    block and to ``prefix`` positions that the block decoder's output is expanded to. Defaults are those of the paper's
    main models: blocks of 4, both decoders of equal depth, 2 prefix positions. A decode step is the mean over the
    steps of a block. A prompt passes the block decoder only, but for its last block.
    """

    name: ClassVar[str] = "block_transformer"
    title: ClassVar[str] = "block decoder over blocks of tokens, token decoder inside one block"
    axes: ClassVar[frozenset[Axis]] = frozenset({"shape"})
    equations: ClassVar[tuple[str, ...]] = (
        "stored = B 2 H_kv d 2 [L_blk ceil(n / L_B) + L_tok (L_B + q)] bytes",
        "read per token = B 2 H_kv d 2 [L_blk ceil(n / L_B) / L_B + L_tok (L_B + q)]",
        "weights read per token = P_blk / L_B + P_tok; FLOP 2 P_blk / L_B + 2 P_tok (1 + q / L_B)",
        "prefill: block decoder over S / L_B positions, token decoder over L_B + q",
    )
    reference: ClassVar[str] = "Ho et al. 2024, Block Transformer, arXiv 2406.02657, sections 2 and 3"
    limits: ClassVar[tuple[str, ...]] = (
        "an architecture, not a switch: it must be trained this way, with two to three times the parameters for the "
        "same perplexity",
        "the embedder of blocks and the projection to prefix positions are not counted",
        "all sequences of a batch are taken to start their blocks together or evenly spread",
    )
    excludes: ClassVar[Mapping[str, str]] = {"skipdecode": "each trains the depth of the network in its own way"}

    block_tokens: int = Field(4, ge=1, le=1024)
    token_share: float = Field(0.5, ge=0, lt=1)
    prefix: int = Field(2, ge=0, le=1024)

    def check(self, model: ModelSpec) -> None:
        """Models whose layers are all alike, with full attention per head."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "its blocks are defined on per-head keys")
        group = model.attention[0]
        whole = isinstance(group, HeadAttention) and group.kind == "full" and group.cached_layers == group.layers
        if not whole or len(model.attention) > 1 or len(model.feed_forward) != 1:
            raise ForbiddenError(
                f"scheme {self.name!r} does not apply to {model.name}: only layers that are all alike and attend to "
                "everything can be split into a block decoder and a token decoder"
            )

    def reshape(self, model: ModelSpec) -> ModelSpec:
        """The same layers as two groups; the upper one attends to a window of one block and its prefix."""
        upper = self._token_layers(model)
        if not upper:
            return model
        lower = model.layers - upper
        whole, network = model.attention[0], model.feed_forward[0]
        window = {"kind": "sliding", "window": self.block_tokens + self.prefix}
        attention: tuple[AttentionGroup, ...] = (
            whole.model_copy(update={"layers": lower}),
            HeadAttention.model_validate({**whole.model_dump(), **window, "layers": upper}),
        )
        forward: tuple[FeedForwardGroup, ...] = (
            network.model_copy(update={"layers": lower}),
            network.model_copy(update={"layers": upper}),
        )
        return model.model_copy(update={"attention": attention, "feed_forward": forward})

    def _token_layers(self, model: ModelSpec) -> int:
        return min(round(model.layers * self.token_share), model.layers - 1)

    def rewrite(self, cache: Cache) -> Cache:
        """Blocks as positions below, one block above, and how often each of the two runs."""
        groups = tuple(self._blocks(g) if g.kind == "full" else self._inside(g, cache) for g in cache.groups)
        runs = tuple(self._run(group, cache) for group in groups)
        execution = replace(cache.execution, attention_runs=runs, feed_forward_runs=runs)
        return replace(cache, groups=groups, execution=execution)

    def _run(self, group: CacheGroup, cache: Cache) -> Run:
        positions = np.asarray(group.attended)
        if not cache.prefill:
            if group.kind == "full":
                return Run(share=1.0 / self.block_tokens)
            return Run(tokens=1.0 + self.prefix / self.block_tokens)
        if group.kind == "full":
            return Run(tokens=1.0 / self.block_tokens, context=positions)
        return Run(tokens=positions / cache.query_tokens, context=positions)

    def _blocks(self, group: CacheGroup) -> CacheGroup:
        def shorter(tokens: Numeric) -> Numeric:
            return np.ceil(tokens / self.block_tokens)

        tensors = tuple(
            tensor.map(lambda s: replace(s, stored=shorter(s.stored), read=shorter(s.read))) for tensor in group.tensors
        )
        return replace(group, tensors=tensors, attended=shorter(group.attended))

    def _inside(self, group: CacheGroup, cache: Cache) -> CacheGroup:
        local = np.minimum(cache.context, self.block_tokens) + self.prefix
        tensors = tuple(tensor.map(lambda s: replace(s, stored=local, read=local)) for tensor in group.tensors)
        return replace(group, tensors=tensors, attended=local)
