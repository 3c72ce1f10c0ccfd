"""Schemes that read only chosen pages of a cache: what all of them do to a group, each with its own index of pages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kvwall.simulator.cache import Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.segments import read_at_most
from kvwall.simulator.traffic import Numeric, Operator, Symbols, term


def stored_tokens(group: CacheGroup) -> Numeric:
    """Tokens that a layer of ``group`` keeps per sequence."""
    return sum((s.stored for s in group.tensors[0].segments), start=np.float64(0.0))


def reading_chosen(group: CacheGroup, budget: float, sets: float = 1.0) -> CacheGroup:
    """``group`` of which a query reads ``budget`` tokens, known only once the query exists.

    :param sets: different choices of the query heads of one KV head, in the worst case disjoint
    """
    tensors = tuple(read_at_most(tensor, budget * sets) for tensor in group.tensors)
    attended = np.minimum(group.attended, budget)
    return replace(group, tensors=tensors, attended=attended, reads_known=False)


def with_index(group: CacheGroup, index: Tensor, pages: Numeric, read: Numeric) -> CacheGroup:
    """``group`` with an index of ``pages`` rows, of which a step reads ``read``."""
    segment = Segment("pages", stored=pages, read=read)
    return replace(group, tensors=(*group.tensors, replace(index, segments=(segment,))))


def top_pages(owner: str, group: CacheGroup, cache: Cache, heads: float, pages: Numeric) -> Operator:
    """The choice of the best pages by the scores of ``heads`` heads, beyond reading and scoring the index."""
    shape: Symbols = {"L": group.layers, "H": heads, "B": cache.batch, "m": cache.query_tokens, "p": pages}
    moved = term(
        "move page scores", "hbm", "12 * L * H * B * m * p", "fp32 scores, written once and read twice (estimate)",
        compulsory=False, **shape,
    )  # fmt: skip
    launches = np.where(np.asarray(pages) > 0, 2.0 * group.layers, 0.0)
    return Operator(owner, "choose pages", "attention", (moved,), launches)
