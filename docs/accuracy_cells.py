"""Cells and tables of docs/accuracy.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kvwall.simulator.answers.agree import AgreementRow
from kvwall.simulator.predicting.agreement import Agreement


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def percent(value: float) -> str:
    """A fraction as per cent."""
    return f"{value * 100:.1f}" if value < 0.1 else f"{value * 100:.0f}"


def errors(both: tuple[float, float]) -> str:
    """Median and 90th percentile."""
    return f"{percent(both[0])} / {percent(both[1])}"


def pair(found: Agreement | AgreementRow | None) -> str:
    """Median and 90th percentile."""
    return "-" if found is None else errors((found.median, found.p90))


def spread(found: Agreement | AgreementRow) -> str:
    """Median and 90th percentile with their bootstrap intervals."""
    (a, b), (c, d) = found.median_interval, found.p90_interval
    return f"{percent(found.median)} ({percent(a)}-{percent(b)}) / {percent(found.p90)} ({percent(c)}-{percent(d)})"


def kept(both: tuple[float, float], aim: Sequence[float]) -> str:
    """Which of median and 90th percentile are at or below the aim, as printed."""
    median, p90 = (round(value * 100, 1) <= goal for value, goal in zip(both, aim, strict=True))
    return "both" if median and p90 else "median" if median else "p90" if p90 else "no"


def aimed(aim: Sequence[float]) -> str:
    """An aim as it is printed."""
    return f"{aim[0]:g} / {aim[1]:g}"
