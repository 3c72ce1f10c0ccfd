"""Rewrites of segments that several schemes share: split off the newest tokens, keep a budget, read a budget."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kvwall.simulator.cache import Attendant, Place, Segment, Tensor
from kvwall.simulator.traffic import Numeric


def split_newest(segment: Segment, newest: Numeric, label: str) -> tuple[Segment, Segment]:
    """``segment`` without its ``newest`` tokens, and those tokens as a segment of their own called ``label``.

    A step that does not read the whole segment is taken to read its newest tokens first.
    """
    kept = np.minimum(newest, segment.stored)
    read = np.minimum(kept, segment.read)
    older = replace(segment, stored=segment.stored - kept, read=segment.read - read)
    return older, replace(segment, label=label, stored=kept, read=read)


def split_oldest(segment: Segment, oldest: Numeric, label: str) -> tuple[Segment, Segment]:
    """The ``oldest`` tokens of ``segment`` as a segment of their own called ``label``, and the others.

    A step that does not read the whole segment is taken to read its newest tokens first.
    """
    first, others = split_newest(segment, segment.stored - np.minimum(oldest, segment.stored), segment.label)
    return replace(first, label=label), others


def move_oldest(tensor: Tensor, fraction: float, place: Place, attend_on: Attendant = "device") -> Tensor:
    """``tensor`` with the oldest ``fraction`` of its tokens in ``place``, where ``attend_on`` attends to them."""
    left = fraction * sum((s.stored for s in tensor.segments), start=np.float64(0.0))
    segments: list[Segment] = []
    for segment in tensor.segments:
        moved = np.minimum(left, segment.stored)
        left = left - moved
        share = part_of(moved, segment.stored)
        segments.append(replace(segment, stored=moved, read=segment.read * share, place=place, attend_on=attend_on))
        if fraction < 1:
            segments.append(replace(segment, stored=segment.stored - moved, read=segment.read * (1 - share)))
    return replace(tensor, segments=tuple(segments))


def part_of(part: Numeric, whole: Numeric) -> Numeric:
    """``part / whole``, and 0 where there is nothing to take a part of."""
    shape = np.broadcast(part, whole).shape
    return np.divide(part, whole, out=np.zeros(shape), where=np.asarray(whole) > 0)


def keep_at_most(tensor: Tensor, budget: Numeric, extra: Numeric = 0.0) -> Tensor:
    """``tensor`` with ``min(stored - extra, budget) + extra`` tokens kept of each segment, all of them read."""

    def cut(segment: Segment) -> Segment:
        kept = np.minimum(segment.stored - extra, budget) + extra
        return replace(segment, stored=kept, read=np.minimum(segment.read, kept))

    return tensor.map(cut)


def read_at_most(tensor: Tensor, budget: Numeric) -> Tensor:
    """``tensor`` of which a step reads ``budget`` tokens: the newest segments first, then the older ones."""
    left: Numeric = budget
    chosen: list[Segment] = []
    for segment in reversed(tensor.segments):
        read = np.minimum(segment.read, left)
        left = left - read
        chosen.append(replace(segment, read=read))
    return replace(tensor, segments=tuple(reversed(chosen)))
