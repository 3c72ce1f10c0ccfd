"""Counts as people write them: ``32k``, ``1,8,64``, ``1..256*2``, ``8k*30,128k*2``.

``k`` is 1024 and ``m`` is 1024 x 1024. The functions that end in ``_from`` raise :class:`UnitError` (for documents,
which know the file and the key); those that start with ``parse_`` raise :class:`InputError` and name the option.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from kvwall.hardware.document import read_text
from kvwall.hardware.errors import InputError
from kvwall.hardware.quantity import UnitError

MOST_TOKENS = 10**9
MOST_SEQUENCES = 10**6
MOST_POINTS = 10**6

_COUNT = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,9}))?([kKmM]?)")
_FACTORS = {"": 1, "k": 1024, "m": 1024**2}
_RANGE = re.compile(r"(.+?)\.\.([^*+]+)(?:([*+])(.+))?")
_RANGE_KEYS = {"from", "to", "count", "spacing"}


def count_from(value: Any, lowest: int = 1, highest: int = MOST_TOKENS, example: str = "32k") -> int:
    """The whole number that ``value`` (an int or a text such as ``"32k"``) means.

    :raises UnitError: not a whole number, or outside ``[lowest, highest]``
    """
    text = (value if isinstance(value, str) else _shown(value)).strip() if isinstance(value, (int, float, str)) else ""
    match = _COUNT.fullmatch(text)
    if isinstance(value, bool) or match is None:
        raise UnitError(
            f"{_shown(value)} is not a whole number from {lowest} to {highest}; write for example {example!r}"
        )
    whole, fraction, suffix = match.groups()
    number = Fraction(f"{whole}.{fraction or 0}") * _FACTORS[suffix.lower()]
    if number.denominator != 1:
        raise UnitError(f"{_shown(value)} is not a whole number; write for example {example!r}")
    if not lowest <= number <= highest:
        raise UnitError(f"{_shown(value)} is outside {lowest} to {highest}; write for example {example!r}")
    return int(number)


def counts_from(value: Any, lowest: int = 1, highest: int = MOST_TOKENS, example: str = "1..256*2") -> tuple[int, ...]:
    """The whole numbers that ``value`` lists.

    :param value: an int; a text of items with commas, each a count or a range ``a..b`` (every whole number),
        ``a..b*r`` (geometric) or ``a..b+d`` (linear); a list of those; or a mapping ``{from, to, count, spacing}``
    :raises UnitError: an item that is none of those, out of bounds, or more than a million points
    """
    if isinstance(value, Mapping):
        return _spaced(value, lowest, highest, example)
    items = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    items = items if isinstance(items, (list, tuple)) else [items]
    if not items:
        raise UnitError(f"{_shown(value)} lists no numbers; write for example {example!r}")
    found: list[int] = []
    for item in items:
        match = _RANGE.fullmatch(item) if isinstance(item, str) else None
        found += _range(match, lowest, highest, example) if match else [count_from(item, lowest, highest, example)]
        _check_points(len(found))
    return tuple(found)


def _range(match: re.Match[str], lowest: int, highest: int, example: str) -> list[int]:
    first, last = (count_from(match[index], lowest, highest, example) for index in (1, 2))
    _check_order(first, last, match[0], example)
    if match[3] != "*":
        step = count_from(match[4], 1, highest, "1..100+10") if match[3] else 1
        _check_points((last - first) // step + 1)
        return list(range(first, last + 1, step))
    ratio = _ratio(match[4])
    if first == 0:
        raise UnitError(f"{_shown(match[0])} cannot grow from 0; write for example {example!r}")
    points = math.floor(math.log(last / first) / math.log(ratio) + 1e-9) + 1
    _check_points(points)
    return _distinct(first * ratio**index for index in range(points))


def _ratio(text: str) -> float:
    try:
        ratio = float(text)
    except ValueError:
        ratio = math.nan
    if not 1.000001 <= ratio <= 1e9:
        raise UnitError(f"the ratio {text!r} is not a number above 1; write for example '1..256*2'")
    return ratio


def _spaced(value: Mapping[Any, Any], lowest: int, highest: int, example: str) -> tuple[int, ...]:
    wrong = sorted(str(key) for key in value if key not in _RANGE_KEYS)
    missing = sorted(_RANGE_KEYS - {"spacing"} - set(value))
    if wrong or missing:
        problem = f"unknown key {wrong[0]!r}" if wrong else f"missing key {missing[0]!r}"
        raise UnitError(f"{problem} of a range; write for example {{from: 1, to: 256, count: 9, spacing: geometric}}")
    spacing = value.get("spacing", "linear")
    if spacing not in ("linear", "geometric"):
        raise UnitError(f"spacing {_shown(spacing)} is unknown (allowed: linear, geometric)")
    first, last = (count_from(value[key], lowest, highest, example) for key in ("from", "to"))
    count = count_from(value["count"], 1, MOST_POINTS, "9")
    _check_order(first, last, f"{first}..{last}", example)
    if spacing == "geometric" and first == 0:
        raise UnitError("a geometric range cannot grow from 0; write for example {from: 1, to: 256, count: 9}")
    gaps = max(count - 1, 1)
    if spacing == "linear":
        return tuple(_distinct(first + (last - first) * index / gaps for index in range(count)))
    return tuple(_distinct(first * (last / first) ** (index / gaps) for index in range(count)))


def _distinct(numbers: Any) -> list[int]:
    """Rounded ``numbers`` without the repeats that rounding makes, in order."""
    return list(dict.fromkeys(round(number) for number in numbers))


def _check_order(first: int, last: int, text: str, example: str) -> None:
    if last < first:
        raise UnitError(f"{_shown(text)} runs backwards; write for example {example!r}")


def _check_points(points: int) -> None:
    if points > MOST_POINTS:
        raise UnitError(f"{points:,} points are too many (at most {MOST_POINTS:,})")


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits refuses to become text
        return "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def parse_tokens(value: Any, option: str = "--context", lowest: int = 1) -> int:
    """Tokens: ``"32k"`` is 32768 and ``"1m"`` is 1048576.

    :raises InputError: names ``option``, the value and an example
    """
    try:
        return count_from(value, lowest, MOST_TOKENS, "32k")
    except UnitError as error:
        raise InputError(f"{option}: {error}") from None


def parse_count(value: Any, option: str = "--batch", lowest: int = 1, highest: int = MOST_SEQUENCES) -> int:
    """A number of sequences, users or devices.

    :raises InputError: names ``option``, the value and an example
    """
    try:
        return count_from(value, lowest, highest, "64")
    except UnitError as error:
        raise InputError(f"{option}: {error}") from None


def parse_counts(
    value: Any, option: str = "--batch", lowest: int = 1, highest: int | None = None, example: str = "1..256*2"
) -> tuple[int, ...]:
    """A list of counts: ``"1,8,64"``, ``"1..256*2"``, ``"1..10"``, ``"1k..64k*2"``, or what a study's RANGE may be.

    :param highest: a billion (tokens) unless given; a million for ``--batch`` and ``--users`` (sequences)
    :raises InputError: names ``option``, the value and an example
    """
    if highest is None:
        highest = MOST_SEQUENCES if option in ("--batch", "--users") else MOST_TOKENS
    try:
        return counts_from(value, lowest, highest, example)
    except UnitError as error:
        raise InputError(f"{option}: {error}") from None


def parse_ragged(value: str, option: str = "--contexts") -> tuple[tuple[int, int], ...]:
    """A batch of unequal sequences as pairs of (context in tokens, number of sequences).

    :param value: ``"8k*30,128k*2"``, or the path of a file with such items on one or more lines (``#`` comments)
    :raises InputError: names ``option`` (or the file and its line), the item and an example
    """
    text = value.strip()
    where = option
    located = [(option, text)]
    if _names_file(text):
        where = text
        lines = enumerate(read_text(Path(text)).splitlines(), start=1)
        located = [(f"{text}: line {number}", line.split("#")[0]) for number, line in lines]
    pairs = [_ragged_item(item.strip(), place) for place, line in located if line.strip() for item in line.split(",")]
    if not pairs:
        raise InputError(f"{where}: lists no sequences; write for example '8k*30,128k*2'")
    sequences = sum(count for _, count in pairs)
    if sequences > MOST_SEQUENCES:
        raise InputError(f"{where}: {sequences:,} sequences are too many (at most {MOST_SEQUENCES:,})")
    return tuple(pairs)


def _names_file(text: str) -> bool:
    """Whether ``text`` is meant as a path: it has a letter or a sign no item has, and looks like one or is there."""
    if not text.isprintable() or not re.search(r"[^0-9.,*kKmM\s+-]", text):
        return False
    try:
        return bool(Path(text).suffix) or "/" in text or Path(text).exists()
    except OSError:  # too long to be the name of a file
        return False


def _ragged_item(item: str, where: str) -> tuple[int, int]:
    context, separator, count = item.partition("*")
    try:
        tokens = count_from(context, 1, MOST_TOKENS, "8k*30,128k*2")
        return tokens, count_from(count, 1, MOST_SEQUENCES, "8k*30,128k*2") if separator else 1
    except UnitError as error:
        raise InputError(f"{where}: {error}") from None
