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
    kinds: dict[Literal["gemm", "experts", "attention", "elementwise", "collective", "copy"], KernelClass]
    source: str


class OutOfFold(Document):
    """Errors of predictions for points that a fit had not seen, as parts of the measured time."""

    median: float = Field(ge=0)
    p90: float = Field(ge=0)
    bias: float = 0.0


class KernelFit(Document):
    """The fitted numbers of one kernel family on one device and framework.

    :ivar family: its name in ``simulator/kernel_time``
    :ivar parameters: by name, in the units that the family states
    :ivar log_covariance: of the logarithms of the parameters, in their order
    :ivar residual: spread (as a normal sigma) of log(predicted/measured), by regime of the ideal time
    :ivar range: smallest and largest value of each column of the shapes, beyond which bands grow
    :ivar points: where the measurements are from
    :ivar comment: parameters that the points do not identify
    """

    family: str
    parameters: dict[str, float] = Field(min_length=1)
    log_covariance: tuple[tuple[float, ...], ...]
    residual: dict[str, float]
    n: int = Field(ge=1)
    range: dict[str, tuple[float, float]] = Field(default_factory=dict)
    cross_validated: OutOfFold
    points: str = Field(min_length=1)
    date: str
    comment: str = ""

    @model_validator(mode="after")
    def _check(self) -> KernelFit:
        size = len(self.parameters)
        if len(self.log_covariance) != size or any(len(row) != size for row in self.log_covariance):
            raise ValueError(f"log_covariance is not {size} x {size}, one row and column per parameter")
        if min(self.parameters.values()) <= 0:
            raise ValueError("parameters must be above 0")
        for name, (low, high) in self.range.items():
            if not 0 < low <= high:
                raise ValueError(f"range: {name} must be two numbers above 0 in rising order, is [{low:g}, {high:g}]")
        return self


class KernelCalibration(Sourced):
    """Fits of the kernels of one framework on one device.

    :ivar device: name of the device
    :ivar framework: name of the engine, e.g. ``"vllm"``
    :ivar versions: of the software that was measured
    :ivar fits: by family
    """

    name: str
    device: str
    framework: str
    versions: dict[str, str]
    fits: dict[str, KernelFit] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> KernelCalibration:
        for key, fit in self.fits.items():
            if key != fit.family:
                raise ValueError(f"the fit {key!r} is of the family {fit.family!r}")
        return self


CALIBRATIONS = Library("kvwall.hardware", "calibrations", "calibration", Calibration)
KERNEL_CALIBRATIONS = Library("kvwall.hardware", "calibrations/kernels", "kernel calibration", KernelCalibration)


def of_one_release(name: str) -> bool:
    """Whether a kernel calibration that ships with kvwall is of one older release: ``DEVICE.FRAMEWORK.PART.RELEASE``.

    It serves rows of a table that state their release; all else takes the newest, whose name states none.
    """
    return name.count(".") == 3


def kernel_fits(device: str, framework: str) -> dict[str, KernelFit]:
    """All newest fits for ``device`` and ``framework`` by family, from the files ``DEVICE.FRAMEWORK[.PART].yaml``."""
    prefix = f"{device}.{framework}"
    names = [
        name
        for name in KERNEL_CALIBRATIONS.names
        if (name == prefix or name.startswith(f"{prefix}.")) and not of_one_release(name)
    ]
    return {family: fit for name in names for family, fit in KERNEL_CALIBRATIONS.load(name).fits.items()}
