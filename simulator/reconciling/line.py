"""One line of a reconciliation: what the engine printed, what kvwall says, and why they differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kvwall.simulator.engine_logs import Fact
from kvwall.simulator.reserve import ByteBand

#: ``flags``: from the flags alone. ``log``: given what the log itself states. ``physics``: what cannot be.
Basis = Literal["flags", "log", "physics"]
Verdict = Literal["agrees", "within band", "differs", "impossible", "not predicted"]

GIB = 2.0**30


@dataclass(frozen=True)
class Line:
    """One printed number and its prediction, both in ``unit``.

    :ivar what: name of the number
    :ivar basis: what the prediction started from
    :ivar engine: as the engine printed it
    :ivar kvwall: a number, or a band; ``None`` where nothing is predicted
    :ivar verdict: ``agrees`` is inside the printed rounding and one block
    """

    what: str
    basis: Basis
    engine: float
    kvwall: float | ByteBand | None
    unit: str
    verdict: Verdict
    why: str
    printed: str
    log_line: int

    @property
    def mid(self) -> float | None:
        """The middle of the prediction."""
        return self.kvwall.mid if isinstance(self.kvwall, ByteBand) else self.kvwall

    @property
    def ratio(self) -> float | None:
        """Predicted over printed."""
        return None if self.mid is None or self.engine == 0 else self.mid / self.engine


def scaled(unit: str) -> float:
    """What one ``unit`` is in the base units of a log."""
    return GIB if unit == "GiB" else 1.0


def against_band(what: str, fact: Fact, band: ByteBand, unit: str, why: Callable[[str], str]) -> Line:
    """``fact`` held against ``band`` (base units), from the flags alone; ``why`` tells the cause by verdict."""
    one = scaled(unit)
    verdict: Verdict = "differs"
    if abs(band.mid - fact.value) <= fact.half_width:
        verdict = "agrees"
    elif band.low - fact.half_width <= fact.value <= band.high + fact.half_width:
        verdict = "within band"
    shown = ByteBand(band.low / one, band.mid / one, band.high / one)
    return Line(what, "flags", fact.value / one, shown, unit, verdict, why(verdict), str(fact), fact.line)


def against_rule(what: str, fact: Fact, band: ByteBand, slack: float, unit: str, rule: str, differs: str) -> Line:
    """``fact`` held against a rule applied to other printed numbers.

    :param band: the rule at the ends and the middle of those numbers' rounding
    :param slack: one block, or half of the last printed digit, in base units
    :param rule: the rule in words and numbers
    :param differs: the cause to name when it does not hold
    """
    one = scaled(unit)
    holds = band.low - slack <= fact.value <= band.high + slack
    why = rule if holds else f"{differs} (rule: {rule})"
    return Line(
        what, "log", fact.value / one, band.mid / one, unit, "agrees" if holds else "differs", why, str(fact), fact.line
    )
