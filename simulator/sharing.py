"""Tokens that several sequences have in common: kept once, and read once where a cascade kernel serves all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from kvwall.simulator.cache import CONTENT_ROLES, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.segments import part_of
from kvwall.simulator.traffic import Numeric, Operator, term

_CASCADE = "Ye et al. 2025, FlashInfer, arXiv 2501.01005, section 3.1: partial outputs in fp32, merged by their maxima"

#: Tokens that all sharers together keep of the newest ``x`` tokens of each of them.
Distinct = Callable[[Numeric], Numeric]


def share_oldest(tensor: Tensor, tokens: Numeric, sharers: Numeric, readers: Numeric = 1.0) -> Tensor:
    """``tensor`` whose oldest ``tokens`` tokens are the same in ``sharers`` sequences.

    :param readers: sequences that one read of them serves; what a step reads falls on both parts by their size
    """
    left = tokens
    segments: list[Segment] = []
    for segment in tensor.segments:
        common = np.minimum(left, segment.stored)
        left = left - common
        read = segment.read * part_of(common, segment.stored)
        segments.append(replace(segment, label="shared prefix", stored=common / sharers, read=read / readers))
        segments.append(replace(segment, stored=segment.stored - common, read=segment.read - read))
    return replace(tensor, segments=tuple(segments))


def share_paths(tensor: Tensor, distinct: Distinct, sharers: Numeric, cascade: bool) -> Tensor:
    """``tensor`` of sequences that are the paths of one tree, of which every node is kept once.

    :param distinct: nodes' tokens among the newest tokens of all paths
    :param sharers: paths of one tree
    :param cascade: a node is read once for all paths through it
    """
    behind: Numeric = 0.0
    segments: list[Segment] = []
    for segment in reversed(tensor.segments):
        stored = (distinct(behind + segment.stored) - distinct(behind)) / sharers
        read = segment.read * part_of(stored, segment.stored) if cascade else segment.read
        segments.append(replace(segment, label="shared tree", stored=stored, read=read))
        behind = behind + segment.stored
    return replace(tensor, segments=tuple(reversed(segments)))


def cascaded(cache: Cache, owner: str) -> Cache:
    """``cache`` whose shared tokens are read by a cascade kernel: another kernel than the plain one, and a merge."""
    if cache.prefill:
        return cache
    groups = tuple(replace(g, shared_reads=True) if _keeps_tokens(g) else g for g in cache.groups)
    merges = tuple((g.index, _merge(g, cache, owner)) for g in cache.groups if _keeps_tokens(g))
    return replace(cache, groups=groups, operators=(*cache.operators, *merges))


def _keeps_tokens(group: CacheGroup) -> bool:
    return any(tensor.role in CONTENT_ROLES for tensor in group.tensors)


def _merge(group: CacheGroup, cache: Cache, owner: str) -> Operator:
    """The outputs over shared and over own tokens are written, read and joined."""
    outputs = term(
        "merge partial outputs", "hbm", "16 * L * H * v * B * m", _CASCADE, compulsory=False, L=group.layers,
        H=group.q_heads, v=group.value_dim, B=cache.batch, m=cache.query_tokens,
    )  # fmt: skip
    return Operator(owner, "merge partial attention", "elementwise", (outputs,), launches=2.0 * group.layers)
