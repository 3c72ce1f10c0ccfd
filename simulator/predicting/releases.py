"""Releases of a library: their order, and which of several stands for the one that a row states."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: ``1.3.0rc20``, ``0.5.6.post2``, ``v2.27.3``; a year or a month of use is no release.
_RELEASE = re.compile(r"v?(\d{1,4}(?:\.\d{1,6})+)(?:[.-]?(a|b|rc|dev|post)\.?(\d{1,6}))?", re.IGNORECASE)

#: Before the release itself come its previews, after it what mends it.
_STAGES = {"dev": -4, "a": -3, "b": -2, "rc": -1, "post": 1}

Release = tuple[tuple[int, ...], int, int]


def release_of(text: str) -> Release | None:
    """Numbers, stage and number of the stage, so that releases compare by age; ``None`` of what names no release."""
    found = _RELEASE.match(text.strip())
    if found is None:
        return None
    numbers = tuple(int(number) for number in found[1].split("."))
    while numbers and numbers[-1] == 0:
        numbers = numbers[:-1]
    return numbers, _STAGES[found[2].lower()] if found[2] else 0, int(found[3] or 0)


def standing_for(stated: str, known: Sequence[str]) -> int:
    """Which of ``known`` (one or more) stands for the release ``stated``, as an index.

    The one of that name; else the newest that is not newer, as an engine profile holds until the next one; else the
    oldest. Where no release is stated, the newest. What names no release stands for itself alone, if there is another.
    """
    wanted = stated.strip()
    for place, text in enumerate(known):
        if wanted and wanted in (part.strip() for part in text.split(",")):
            return place
    dated = [(release, -place) for place, text in enumerate(known) if (release := release_of(text)) is not None]
    if not dated:
        return 0
    target = release_of(wanted)
    if target is None:
        return -max(dated)[1]
    earlier = [entry for entry in dated if entry[0] <= target]
    return -(max(earlier) if earlier else min(dated))[1]
