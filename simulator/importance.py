"""Tokens in two number formats: the important ones in more bits, the others in fewer."""

from __future__ import annotations

from dataclasses import replace

from kvwall.simulator.cache import Bits, Segment
from kvwall.simulator.segments import split_newest
from kvwall.simulator.traffic import Numeric


def split_by_importance(segment: Segment, part: Numeric, high: Bits, low: Bits) -> tuple[Segment, Segment]:
    """The less important tokens of ``segment`` in ``low``, and ``part`` of all its tokens in ``high``.

    A new token is important; one older token leaves the important ones for it, so a step writes in both formats.
    """
    others, important = split_newest(segment, part * segment.stored, "important")
    return replace(others, bits=low), replace(important, bits=high)
