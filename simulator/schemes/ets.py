"""Tree search: sequences are the live leaves of a tree, of which every node is cached once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import CONTENT_ROLES, Axis, Cache, CacheGroup, Tensor
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.simulator.sharing import cascaded, share_paths
from kvwall.simulator.traffic import Array, Numeric
from kvwall.workloads.model_spec import ModelSpec

#: Levels of a tree that are followed one by one; older ones keep what the oldest of these does.
_MOST_LEVELS = 4096


class Ets(Scheme):
    """Each ``width`` sequences of the batch are the live leaves of one search, ``steps`` levels below its prompt.

    Every ``step_tokens`` tokens a level keeps ``kept = width / branching`` nodes, and each of them branches into
    ``branching``. Nodes without a live leaf are freed. ``choice=score`` keeps the best by score alone, whatever their
    ancestors (REBASE): of ``a`` live nodes the expected number of parents is ``kept (1 - (1 - a / width)^branching)``.
    ``choice=cost`` also charges every node that stays alive (ETS); the state modelled is the cheapest choice, siblings:
    ``a / branching`` parents. A search's own choice lies between the two.

    ``cascade`` reads a node once for all leaves below it; without it every leaf reads its whole path, as the published
    code does. Width 16 and steps of up to 256 tokens, four of which reach the limit of 1,024, are the defaults of that
    code; four branches a node are an example. What of the context is not in the tree is the prompt.
    """

    name: ClassVar[str] = "ets"
    title: ClassVar[str] = "tree search whose trajectories share their nodes (ETS; REBASE by choice=score)"
    axes: ClassVar[frozenset[Axis]] = frozenset({"sequences"})
    equations: ClassVar[tuple[str, ...]] = (
        "a_0 = width, a_1 = kept, then score: kept (1 - (1 - a / width)^branching); cost: max(1, a / branching)",
        "stored of one search = kv [S + step_tokens (a_0 + a_1 + ...)]",
        "read = B n kv  (cascade: what is stored)",
        "a prompt is prefilled once per search",
    )
    reference: ClassVar[str] = "Hooper et al. 2025, ETS, arXiv 2502.13575, sections 3 and 4, and released code"
    limits: ClassVar[tuple[str, ...]] = (
        "the reward model and the embeddings that the choice needs run elsewhere",
        "which nodes stay is the search's outcome: the two choices are its ends",
        "a smaller tree evicts and recomputes less; that gain is not priced",
    )
    excludes_axes: ClassVar[Mapping[Axis, str]] = {
        "tokens": "what a sequence drops by itself is no longer a node that others share"
    }

    width: int = Field(16, ge=1, le=65536)
    branching: int = Field(4, ge=1, le=65536)
    steps: int = Field(4, ge=0, le=100_000)
    step_tokens: int = Field(256, ge=1, le=1_000_000)
    choice: Literal["cost", "score"] = "cost"
    cascade: bool = False

    def check(self, model: ModelSpec) -> None:
        """Any architecture that caches tokens; recurrent states are not shared."""
        forbid_no_tokens(self, model)

    def rewrite(self, cache: Cache) -> Cache:
        """Every leaf keeps its part of the nodes; a prefill runs once per search."""
        leaves = np.minimum(self.width, cache.resident)
        if cache.prefill:
            return replace(cache, batch=cache.batch / leaves, resident=cache.resident / leaves)
        nodes, tree = self._nodes(), np.minimum(self.steps * self.step_tokens, cache.context)

        def distinct(tokens: Numeric) -> Numeric:
            return self._distinct(np.asarray(tokens), tree, leaves, nodes)

        def share(group: CacheGroup, tensor: Tensor) -> Tensor:
            return share_paths(tensor, distinct, leaves, self.cascade)

        shared = cache.map_tensors(share, CONTENT_ROLES)
        return cascaded(shared, self.name) if self.cascade else shared

    def _nodes(self) -> Array:
        """Live nodes of one search by level, leaves first."""
        kept = max(1.0, self.width / self.branching)
        alive = [float(self.width), kept]
        while len(alive) < min(self.steps, _MOST_LEVELS):
            a = alive[-1]
            score = kept * (1.0 - (1.0 - a / self.width) ** self.branching)
            alive.append(max(1.0, score if self.choice == "score" else a / self.branching))
        return np.asarray(alive)

    def _distinct(self, tokens: Array, tree: Array, leaves: Numeric, nodes: Array) -> Numeric:
        """Tokens of all nodes among the newest ``tokens`` of the paths of ``leaves`` leaves; ``tree`` lie in the tree.

        A level holds as many nodes as there are leaves while those are fewer; then as its live nodes tell.
        """
        depth = np.minimum(tokens, tree) / self.step_tokens
        wide = np.searchsorted(-nodes, -np.asarray(leaves, dtype=np.float64), side="left").astype(np.float64)
        first = np.minimum(depth, wide)
        below = leaves * first + self._total(depth, nodes) - self._total(first, nodes)
        return below * self.step_tokens + np.maximum(0.0, tokens - tree)

    @staticmethod
    def _total(depth: Array, nodes: Array) -> Array:
        """Nodes of the newest ``depth`` levels together; beyond the last level followed, as many as there."""
        sums = np.concatenate([[0.0], np.cumsum(nodes)])
        inside = np.interp(depth, np.arange(sums.size, dtype=np.float64), sums)
        beyond: Array = inside + np.maximum(0.0, depth - nodes.size) * nodes[-1]
        return beyond
