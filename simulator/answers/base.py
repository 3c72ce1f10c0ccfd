"""What every answer carries."""

from __future__ import annotations

import math
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from kvwall.simulator.inquiry import Resolved

SCHEMA_VERSION = 1


@cache
def kvwall_version() -> str:
    """The installed version."""
    return version("kvwall")


class Part(BaseModel):
    """A frozen part of an answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Range(Part):
    """An uncertain value: a central 80 % band."""

    low: float
    mid: float
    high: float


class Answer(Part):
    """What every answer carries."""

    schema_version: int = SCHEMA_VERSION
    kvwall_version: str = Field(default_factory=kvwall_version)
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def says_no(self) -> str | None:
        """Why the answer is no (exit status 1), or ``None``."""
        return None


class SetupAnswer(Answer):
    """An answer about one model on one machine."""

    model: str
    device: str
    device_name: str
    gpus: int
    tp: int
    pp: int
    dp: int
    ep: int
    attn_dp: int
    dcp: int
    engine: str
    weights: str
    scheme: str


def setup_fields(resolved: Resolved) -> dict[str, Any]:
    """The fields of :class:`SetupAnswer`."""
    s, d = resolved.setup, resolved.setup.deployment
    return {
        "model": s.model_name,
        "device": s.system.device_id,
        "device_name": s.system.device.name,
        "gpus": s.system.count,
        "tp": d.tp,
        "pp": d.pp,
        "dp": d.dp,
        "ep": d.ep,
        "attn_dp": d.attn_dp,
        "dcp": d.dcp,
        "engine": s.engine.engine,
        "weights": s.weights_name,
        "scheme": s.stack.text,
        "assumptions": resolved.assumptions,
        "warnings": resolved.warnings,
    }


def number(value: Any) -> float:
    """A plain finite float; infinity becomes the largest float, since JSON has none."""
    plain = float(value)
    return plain if math.isfinite(plain) else math.copysign(1.7e308, plain)


def band(value: Any) -> Range:
    """Anything with ``low``, ``mid`` and ``high`` as a :class:`Range`."""
    return Range(low=number(value.low), mid=number(value.mid), high=number(value.high))
