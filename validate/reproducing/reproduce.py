"""``kvwall reproduce``: published results predicted from first principles, each with a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from kvwall.hardware.errors import KvwallError
from kvwall.simulator.answers.base import Answer, Part
from kvwall.validate.reproducing.paper import Claim, Paper, read_papers
from kvwall.validate.reproducing.point import point_of, quantity_of
from kvwall.validate.reproducing.units import UNITS

Verdict = Literal["reproduced", "close", "off", "not predictable"]
VERDICTS: tuple[Verdict, ...] = ("reproduced", "close", "off", "not predictable")

#: A prediction within these factors of the published figure, either way.
REPRODUCED, CLOSE = 1.10, 1.25


class Reproduction(Part):
    """One published figure beside its prediction.

    :ivar published: the figure, or both ends of a published range
    :ivar predicted: in the same unit; ``None`` where it is not predictable
    :ivar ratio: predicted over published, 1 inside a published range
    :ivar note: what is inferred of the set-up, the reason of a miss, or what is missing
    """

    id: str
    system: str
    claim: str
    published: float | tuple[float, float]
    predicted: float | None
    unit: str
    ratio: float | None
    verdict: Verdict
    note: str
    source: str
    known_from: str


class ReproduceAnswer(Answer):
    """All rows, and how many of each verdict."""

    rows: tuple[Reproduction, ...]
    verdicts: dict[str, int]


def reproduce(system: str | None = None, progress: Callable[[int, int], None] | None = None) -> ReproduceAnswer:
    """Predict every published figure, or those of one ``system``.

    :raises UnknownNameError: no paper of that system
    :raises InputError: a file of papers that says what cannot be; names file and row
    """
    papers = read_papers(system)
    total = sum(len(paper.rows) for paper in papers.values())
    rows: list[Reproduction] = []
    for path, paper in papers.items():
        for claim in paper.rows:
            rows.append(reproduction(path, paper, claim))
            if progress is not None:
                progress(len(rows), total)
    verdicts: dict[str, int] = {name: sum(1 for row in rows if row.verdict == name) for name in VERDICTS}
    return ReproduceAnswer(
        rows=tuple(rows),
        verdicts=verdicts,
        assumptions=(
            f"reproduced: within {REPRODUCED - 1:.0%} either way or inside a published range; close: {CLOSE - 1:.0%}",
            "kernels of papers are priced by class defaults unless a row names a calibration",
        ),
    )


def reproduction(path: Path, paper: Paper, claim: Claim) -> Reproduction:
    """``claim`` of ``paper`` beside its prediction."""
    try:
        predicted = None if claim.quantity is None else _predicted(paper, claim, claim.quantity)
    except KvwallError as error:
        raise type(error)(f"{path.name}: row {claim.id}: {error}") from None
    ratio = None if predicted is None else _ratio(predicted, claim)
    verdict = verdict_of(ratio)
    reason = claim.not_predictable or (claim.why_off if verdict == "off" else "")
    return Reproduction(
        id=claim.id,
        system=paper.system,
        claim=claim.claim,
        published=claim.published,
        predicted=predicted,
        unit=claim.unit,
        ratio=ratio,
        verdict=verdict,
        note="; ".join(filter(None, (claim.note, reason))),
        source=claim.source,
        known_from=claim.known_from,
    )


def _predicted(paper: Paper, claim: Claim, name: str) -> float:
    compute = quantity_of(name)
    value = compute(point_of(paper.defaults, claim.setup))
    if claim.against is not None:
        value = value / compute(point_of(paper.defaults, claim.setup, claim.against))
    return float(value / UNITS[claim.unit])


def _ratio(predicted: float, claim: Claim) -> float:
    """Predicted over the nearest end of what was published; 1 inside."""
    low, high = claim.ends
    return predicted / low if predicted < low else predicted / high if predicted > high else 1.0


def verdict_of(ratio: float | None) -> Verdict:
    """The verdict of a prediction that is ``ratio`` times what was published."""
    if ratio is None:
        return "not predictable"
    away = max(ratio, 1 / ratio) if ratio > 0 and math.isfinite(ratio) else math.inf
    return "reproduced" if away <= REPRODUCED else "close" if away <= CLOSE else "off"
