"""Calibrations: what kernels reach of a data sheet's peaks, as evidence or as documented class defaults.

A calibration meets a device in exactly one expression (the price of a term) and never shares a file with it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from kvwall.hardware.document import Document, Sourced
from kvwall.hardware.library import Library
from kvwall.hardware.quantity import Seconds


class Fraction(Document):
    """A central 80 % band of an efficiency, as parts of the peak."""

    low: float = Field(gt=0, le=1)
    mid: float = Field(gt=0, le=1)
    high: float = Field(gt=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> Fraction:
        if not self.low <= self.mid <= self.high:
            raise ValueError(f"low {self.low} <= mid {self.mid} <= high {self.high} does not hold")
        return self


class Floor(Document):
    """Time of a kernel that has next to nothing to do, replayed from a graph."""

    low_s: Seconds = Field(alias="low")
    mid_s: Seconds = Field(alias="mid")
    high_s: Seconds = Field(alias="high")


class KernelClass(Sourced):
    """How one kind of kernel behaves: what it reaches of each resource, and its floor."""

    memory: Fraction
    matrix: Fraction
    vector: Fraction
    link: Fraction
    floor: Floor


class Calibration(Document):
    """Efficiencies per kind of kernel.

    :ivar calibrated: fitted to measurements, not assumed
    :ivar sharpness: exponent of the smooth maximum over an operator's resources
    """

    name: str
    aliases: tuple[str, ...] = ()
    calibrated: bool
    sharpness: float = Field(ge=1, le=100)
    kinds: dict[Literal["gemm", "attention", "elementwise", "collective", "copy"], KernelClass]
    source: str


CALIBRATIONS = Library("kvwall.hardware", "calibrations", "calibration", Calibration)
