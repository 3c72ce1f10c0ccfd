"""Line patterns: how one kind of log line is recognised and which facts stand in it.

A pattern is a regular expression in which ``<name>`` stands for a printed number. ``<name__part>`` is one addend of
``name``, ``<rank>`` the GPU a line speaks of, ``<unit>`` a unit. Engines print binary units whatever they call them:
vLLM's and SGLang's "GB" are bytes divided by 2^30 (``/ 2**30`` and ``/ (1 << 30)`` in their sources), TensorRT-LLM's
GiB and MiB and llama.cpp's MiB are what they say. So **inside a log, GB and GiB are both 2^30 bytes, MB and MiB both
2^20**; everywhere else in kvwall GB stays 1e9.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from kvwall.simulator.engine_logs.fact import Fact

_UNIT_BYTES = {"GiB": 2**30, "GB": 2**30, "MiB": 2**20, "MB": 2**20, "bytes": 1}
_NUMBER = r"-?\d+(?:,\d{3})*(?:\.\d+)?"
_PLACEHOLDER = re.compile(r"<(\w+)>")


class Stage(IntEnum):
    """Where in a start a line stands; a configuration line after a later stage begins another start."""

    CONFIGURATION = 0
    WEIGHTS = 1
    POOL = 2
    GRAPHS = 3


@dataclass(frozen=True)
class LinePattern:
    """One kind of line: ``needle`` is a literal part of it that is looked for before the slower ``regex``."""

    stage: Stage
    needle: str
    regex: re.Pattern[str]

    def facts(self, text: str, line: int, rank: str) -> Iterator[tuple[str, Fact]]:
        """The named facts of the line ``text``, which is number ``line`` and was printed by ``rank``."""
        if self.needle not in text:
            return
        match = self.regex.search(text)
        if match is None:
            return
        groups = match.groupdict()
        unit = groups.pop("unit", None) or ""
        rank = groups.pop("rank", None) or rank
        addends: dict[str, list[Fact]] = {}
        for group, printed in groups.items():
            name = group.split("__")[0]
            fact = None if printed is None else _fact(name, printed, unit, line, rank)
            if fact is not None:
                addends.setdefault(name, []).append(fact)
        for name, found in addends.items():
            yield name, add(found)


def pattern(stage: Stage, needle: str, template: str) -> LinePattern:
    """The pattern written as ``template``; one with bytes has a ``<unit>``, which holds for all its bytes."""
    return LinePattern(stage, needle, re.compile(_PLACEHOLDER.sub(_group, template), re.ASCII))


def add(facts: list[Fact]) -> Fact:
    """One fact that is the sum of ``facts`` (the K and the V half of a pool, two pools of one GPU)."""
    first = facts[0]
    if len(facts) == 1:
        return first
    return Fact(
        value=math.fsum(fact.value for fact in facts),
        half_width=math.fsum(fact.half_width for fact in facts),
        printed=" + ".join(fact.printed for fact in facts),
        unit=first.unit,
        line=facts[-1].line,
        rank=first.rank,
    )


def number(printed: str) -> tuple[float, float] | None:
    """The value of ``printed`` and half of its last digit; None for what is not a finite number."""
    digits = printed.replace(",", "")
    try:
        value = float(digits)
    except ValueError:
        return None
    decimals = len(digits.partition(".")[2])
    half_width = 0.5 * 10.0**-decimals if decimals else 0.0
    return (value, half_width) if math.isfinite(value) else None


def _group(placeholder: re.Match[str]) -> str:
    name = placeholder[1]
    if name == "rank":
        return r"(?P<rank>[A-Za-z]+\d*)"
    if name == "unit":
        return rf"(?P<unit>{'|'.join(_UNIT_BYTES)})"
    return rf"(?P<{name}>{_NUMBER})"


def _fact(name: str, printed: str, unit: str, line: int, rank: str) -> Fact | None:
    read = number(printed)
    if read is None:
        return None
    is_bytes = name.endswith("_bytes")
    scale = _UNIT_BYTES[unit] if is_bytes else 1
    value, half_width = read
    # A whole number of MiB was rounded as much as one with decimals; only bytes and counts are exact.
    if is_bytes and unit != "bytes" and not half_width:
        half_width = 0.5
    return Fact(value * scale, half_width * scale, printed, unit if is_bytes else "", line, rank)


class Keep(IntEnum):
    """Which print of a fact stands when one rank prints it more than once in a start."""

    FINEST = 0
    LAST = 1
    LARGEST = 2
    SUM = 3


def combine(facts: list[Fact], keep: Keep) -> Fact:
    """The one fact that stands for the ``facts`` of one name and one rank, in the order they were printed."""
    if keep is Keep.SUM:
        return add(facts)
    if keep is Keep.LARGEST:
        return max(facts, key=lambda fact: fact.value)
    if keep is Keep.LAST:
        return facts[-1]
    finest = min(fact.half_width for fact in facts)
    return [fact for fact in facts if fact.half_width == finest][-1]


@dataclass(frozen=True)
class Sought:
    """A regular expression that is tried only on lines that hold ``needle``, which is far cheaper to look for."""

    needle: str
    regex: re.Pattern[str]

    def search(self, text: str) -> re.Match[str] | None:
        """The match in ``text``, if any."""
        return self.regex.search(text) if self.needle in text else None


def sought(needle: str, regex: str) -> Sought:
    """``regex``, tried on lines that hold ``needle``."""
    return Sought(needle, re.compile(regex, re.ASCII))


@dataclass(frozen=True)
class EngineGrammar:
    """How one engine writes its start-up log.

    ``start`` finds lines that only a new start prints, ``configuration`` and ``command`` are words of lines that hold
    flags; ``models`` and ``versions`` have one group each; ``flags`` maps the engine's option names to kvwall's;
    ``keep`` says how repeated prints combine (FINEST where unsaid).
    """

    name: str
    title: str
    examples: tuple[str, ...]
    patterns: tuple[LinePattern, ...]
    start: tuple[Sought, ...]
    models: tuple[Sought, ...]
    versions: tuple[Sought, ...]
    configuration: tuple[str, ...]
    command: tuple[str, ...]
    flags: Mapping[str, str]
    flag_lines: tuple[tuple[str, Sought], ...]
    refusals: tuple[str, ...]
    keep: Mapping[str, Keep]

    @cached_property
    def needles(self) -> tuple[str, ...]:
        """Words of which one stands in every line that says anything."""
        searches = (*self.start, *self.models, *self.versions, *(search for _, search in self.flag_lines))
        words = {entry.needle for entry in self.patterns} | {search.needle for search in searches}
        return tuple(sorted(words | {*self.configuration, *self.command, *self.refusals}))

    def is_silent(self, text: str) -> bool:
        """Whether ``text`` certainly says nothing in this engine's words."""
        return not any(needle in text for needle in self.needles)


def first_match(searches: Iterable[Sought], text: str) -> re.Match[str] | None:
    """The match of the first of ``searches`` that finds something in ``text``."""
    return next((match for search in searches if (match := search.search(text))), None)
