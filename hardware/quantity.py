"""Quantities with units, parsed once at the boundary into base SI numbers.

People write ``"3.35 TB/s"``, ``"80 GiB"`` or ``"989 TFLOP/s"``; inside kvwall every number is a float in bytes,
seconds, FLOP/s and so on. GB is 1e9 and GiB is 2**30, always. A bare number is already in the base unit.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Annotated, Any

from pydantic import BeforeValidator
from quantiphy import InvalidNumber, Quantity

from kvwall.hardware.validation import shortened

_SPELLINGS = {
    "OP/s": "FLOP/s",
    "FLOPS": "FLOP/s",
    "FLOPs/s": "FLOP/s",
    "OPS": "FLOP/s",
    "Bps": "B/s",
    "$/h": "USD/h",
    "USD/hr": "USD/h",
    "USD/hour": "USD/h",
    "bytes": "B",
    "byte": "B",
}


_KNOWN_UNITS = frozenset({"B", "B/s", "FLOP/s", "s", "Hz", "W", "USD/h", "J/B", "J/FLOP"})

#: Units of bits; none is accepted where bytes are expected, because a factor of 8 must not pass silently.
_BIT_UNITS = frozenset({"b", "b/s", "bit", "bits", "bit/s", "bits/s", "bps"})

#: A comma that does not separate thousands, as in "1,5 GB".
_DECIMAL_COMMA = re.compile(r"(?<!\d),|,(?!\d{3}(?!\d))")


#: A number with an exponent before its unit ("3.35e3 GB/s"), which quantiphy alone would not scale.
_EXPONENT = re.compile(r"([+-]?\d[\d.]*[eE][+-]?\d+)\s*([A-Za-z\u00b5][A-Za-z/]*)")

#: The number that a unit follows.
_NUMBER = re.compile(r"[+-]?[\d.,_]+(?:[eE][+-]?\d+)?\s*")


#: The time to parse a text grows with the square of its length.
_LONGEST_TEXT = 100


class UnitError(ValueError):
    """A text that is not a quantity of the unit its field expects."""


@cache
def _parse_text(text: str) -> tuple[float, str]:
    if len(text) > _LONGEST_TEXT:
        raise UnitError(f"{_shown(text)} is not a number with a unit")
    if _DECIMAL_COMMA.search(text):
        raise UnitError(f"{_shown(text)} has a comma that separates no thousands; write a decimal point")
    exponent = _EXPONENT.fullmatch(text)
    try:
        if exponent:
            scale = Quantity(f"1 {exponent[2]}", binary=True)
            return float(exponent[1]) * float(scale.real), str(scale.units)
        quantity = Quantity(text, binary=True)
    except InvalidNumber:
        raise UnitError(f"{_shown(text)} is not a number with a unit") from None
    return float(quantity.real), str(quantity.units)


def _shown(value: Any) -> str:
    return shortened(value, 43)


def parse_quantity(value: Any, unit: str, lowest: float, highest: float, example: str) -> float:
    """``value`` in ``unit`` (base SI).

    :param value: a number already in ``unit``, or a text such as ``"80 GiB"``
    :param unit: the base unit expected, e.g. ``"B"``, ``"B/s"``, ``"FLOP/s"``, ``"s"``
    :param lowest: smallest credible value in ``unit``
    :param highest: largest credible value in ``unit``
    :param example: how a person writes one, for the error
    :raises UnitError: not a number, another unit, not finite, or outside ``[lowest, highest]``
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise UnitError(f"{_shown(value)} is not a quantity; write for example {example!r}")
    if isinstance(value, str):
        try:
            number, found = _parse_text(value.strip())
        except UnitError as error:
            raise UnitError(f"{error}, for example {example!r}") from None
        found = _SPELLINGS.get(found, found)
        if found and found != unit:
            raise UnitError(f"{_shown(value)} has the unit {_wrong_unit(value, found, unit)} as in {example!r}")
    else:
        try:
            number = float(value)
        except OverflowError:
            raise UnitError(f"{_shown(value)} is not finite; write for example {example!r}") from None
    if not math.isfinite(number):
        raise UnitError(f"{_shown(value)} is not finite; write for example {example!r}")
    if not lowest <= number <= highest:
        raise UnitError(f"{_shown(value)} is outside {lowest:g} to {highest:g} {unit}; write for example {example!r}")
    return number


def _wrong_unit(text: str, found: str, expected: str) -> str:
    """``"'B', expected 'B/s'"``; a unit that no field has is shown as it was written."""
    written = found if found in _KNOWN_UNITS else _NUMBER.sub("", text.strip(), count=1)
    bits = " (8 bits are 1 byte)" if found in _BIT_UNITS and expected.startswith("B") else ""
    return f"{written!r}, expected {expected!r}{bits}"


def _quantity(unit: str, lowest: float, highest: float, example: str) -> Any:
    return BeforeValidator(lambda value: parse_quantity(value, unit, lowest, highest, example))


Bytes = Annotated[float, _quantity("B", 1, 1e18, "80 GiB")]
MemoryBytes = Annotated[float, _quantity("B", 1e6, 1e16, "80 GiB")]
BytesPerSecond = Annotated[float, _quantity("B/s", 1e5, 1e16, "3.35 TB/s")]
FlopsPerSecond = Annotated[float, _quantity("FLOP/s", 1e8, 1e19, "989 TFLOP/s")]
Seconds = Annotated[float, _quantity("s", 0, 1e5, "5 us")]
Hertz = Annotated[float, _quantity("Hz", 1e6, 1e11, "1830 MHz")]
Watts = Annotated[float, _quantity("W", 0.1, 1e7, "700 W")]
UsdPerHour = Annotated[float, _quantity("USD/h", 0, 1e5, "2.69 USD/h")]
JoulesPerByte = Annotated[float, _quantity("J/B", 1e-15, 1e-3, "80 pJ/B")]
JoulesPerFlop = Annotated[float, _quantity("J/FLOP", 1e-17, 1e-6, "0.8 pJ/FLOP")]
