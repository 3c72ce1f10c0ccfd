"""Figures that are known within a band: a central 80 % and its middle."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from kvwall.hardware.document import Sourced
from kvwall.hardware.quantity import Seconds, parse_quantity

BytesOrZero = Annotated[float, BeforeValidator(lambda value: parse_quantity(value, "B", 0, 1e15, "0.2 GiB"))]


class _Band(Sourced):
    """Three values of one figure: a central 80 % band and its middle."""

    @model_validator(mode="after")
    def _check(self) -> _Band:
        low, mid, high = (getattr(self, key) for key in ("low", "mid", "high"))
        if not low <= mid <= high:
            raise ValueError(f"needs low <= mid <= high, found {low:g}, {mid:g}, {high:g}")
        return self


class BytesBand(_Band):
    """An amount of memory with its band."""

    low: BytesOrZero
    mid: BytesOrZero
    high: BytesOrZero


class SecondsBand(_Band):
    """A time with its band."""

    low: Seconds
    mid: Seconds
    high: Seconds


class FactorBand(_Band):
    """A number without a unit, or with the unit its key names, with its band."""

    low: float = Field(ge=0)
    mid: float = Field(ge=0)
    high: float = Field(ge=0)
