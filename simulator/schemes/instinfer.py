"""InstInfer: the cache lies on drives that compute, and decode attention runs inside them."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import CONTENT_ROLES, Axis, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.segments import move_oldest, read_at_most
from kvwall.simulator.traffic import Operator, term
from kvwall.workloads.model_spec import ModelSpec


class InstInfer(Scheme):
    """Queries and new keys and values go to the drives, outputs come back; the cache never moves.

    ``sparf=true`` scores all tokens by the ``keep`` part of the channels with the largest queries, read from a second,
    channel-indexed copy of the keys, and attends exactly to the best ``keep`` part of the tokens. Flash is read in
    pages, so that ``amplification`` times those bytes move (ideal 1; the paper keeps about half of the sparsity at page
    level, the default 2). A system file describes its drives under ``host.drives``.
    """

    name: ClassVar[str] = "instinfer"
    title: ClassVar[str] = "decode attention inside computational drives, dense or by sparse flash reads"
    axes: ClassVar[frozenset[Axis]] = frozenset({"place"})
    equations: ClassVar[tuple[str, ...]] = (
        "dense: n kv on flash, B n kv read inside the drives a step",
        "sparf: 1.5 n kv on flash, B L H_kv 2 a (n keep d + 2 keep n d) bytes read",
        "link: B L (H_q + 2 H_kv) d 2 bytes down, B L H_q d 2 bytes up",
    )
    reference: ClassVar[str] = "Pan et al. 2024, InstInfer, arXiv 2409.04992, section 4"
    limits: ClassVar[tuple[str, ...]] = (
        "for offline batches: device and drives take turns within a sequence",
        "published for models without grouped queries; a group's queries must agree on channels and tokens",
        "drives that no system file describes are the paper's prototype, one a host",
    )

    sparf: bool = False
    keep: float = Field(0.125, gt=0, le=1)
    amplification: float = Field(2.0, ge=1, le=16)

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "its drives attend to keys and values of heads")

    def rewrite(self, cache: Cache) -> Cache:
        """All content on drives that attend to it; with SparF a second copy of the keys, and fewer reads."""
        moved = cache.map_tensors(lambda _, t: move_oldest(t, 1.0, "ssd", "storage"), CONTENT_ROLES)
        moved = moved.noting(
            "instinfer: drives as the system file describes them, or the paper's prototype, one a host"
        )
        if not self.sparf:
            return moved
        fused = [(g.index, self._rank(g, cache)) for g in cache.groups if g.kind == "full" and not cache.prefill]
        return replace(moved.map_groups(self._sparse), fused=(*cache.fused, *fused))

    def _sparse(self, group: CacheGroup) -> CacheGroup:
        if group.kind != "full":
            return group
        key = group.tensors[0]
        stored = sum((s.stored for s in key.segments), start=np.float64(0.0))
        pages = min(1.0, self.keep * self.amplification)
        ranked = Segment("tokens", stored, stored * pages, key.segments[-1].bits, "ssd", "storage")
        tensors = tuple(
            read_at_most(t, stored * pages) if t.role in CONTENT_ROLES else t for t in group.tensors
        )  # fmt: skip
        copy = Tensor("channel key", key.heads, key.channels, (ranked,), owner=self.name, grows=False)
        return replace(group, tensors=(*tensors, copy), attended=group.attended * self.keep, reads_known=False)

    def _rank(self, group: CacheGroup, cache: Cache) -> Operator:
        """Scores of all tokens by some channels, per token that is attended: ``keep n`` of them pay for ``n``."""
        scores = term("rank tokens by channels", "matrix", "2 * H * (f * d) * B * m / f", self.reference,
                      H=group.q_heads, d=group.head_dim, B=cache.batch, m=cache.query_tokens, f=self.keep)  # fmt: skip
        return Operator("instinfer", "rank tokens", "attention", (scores,))
