"""Published results as data: one file a system, one row a claim, each with its set-up in the words of ``kvwall``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from kvwall.hardware.document import Document, read_document
from kvwall.hardware.errors import InputError, canonical, unknown_name
from kvwall.validate.reproducing.units import UNITS

Words = dict[str, Any]

#: How a published figure came to be known.
KnownFrom = Literal["paper text", "abstract", "authors' code", "secondary", "figure"]


class Claim(Document):
    """One published figure and the question that predicts it.

    :ivar claim: what the figure is
    :ivar published: the figure, or both ends of a published range
    :ivar unit: one of :data:`UNITS`
    :ivar quantity: what is computed, by the name of a function in ``validate/quantities``
    :ivar setup: model, machine and workload in the words of an inquiry, beside the file's defaults
    :ivar against: words that replace those of ``setup``; the prediction is then ``quantity(setup) / quantity(against)``
    :ivar note: what of the set-up is inferred
    :ivar why_off: the reason found for a prediction that is off
    :ivar not_predictable: what is missing, in place of a question
    """

    id: str
    claim: str
    published: float | tuple[float, float]
    unit: str
    source: str
    known_from: KnownFrom
    quantity: str | None = None
    setup: Words = Field(default_factory=dict)
    against: Words | None = None
    note: str = ""
    why_off: str = ""
    not_predictable: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Claim:
        if self.unit not in UNITS:
            raise ValueError(f"unit {self.unit!r} is not one of {', '.join(UNITS)}")
        if (self.quantity is None) == (self.not_predictable is None):
            raise ValueError(f"{self.id}: needs either a quantity or not_predictable, and not both")
        low, high = self.ends
        if not 0 < low <= high:
            raise ValueError(f"{self.id}: published {self.published} is not above 0, or its ends are in no order")
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest published figure."""
        return self.published if isinstance(self.published, tuple) else (self.published, self.published)


class Paper(Document):
    """All figures of one system.

    :ivar paper: where they were published
    :ivar defaults: words that all rows share
    """

    system: str
    paper: str
    defaults: Words = Field(default_factory=dict)
    rows: tuple[Claim, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Paper:
        ids = [row.id for row in self.rows]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"the id {twice[0]!r} stands twice")
        return self


def read_papers(system: str | None = None) -> dict[Path, Paper]:
    """The papers that ship with kvwall by file, all or those of one ``system``.

    :raises UnknownNameError: no paper of that system, with the nearest name
    :raises InputError: a file that cannot be read; an id of two files
    """
    folder = Path(str(files("kvwall.validate"))) / "papers"
    papers = {path: read_document(path, Paper) for path in sorted(folder.glob("*.yaml"))}
    _refuse_twice(papers)
    if system is None:
        return papers
    found = {
        path: paper
        for path, paper in papers.items()
        if canonical(system) in {canonical(paper.system), canonical(path.stem)}
    }
    if not found:
        names = tuple(paper.system for paper in papers.values())
        raise unknown_name("system", system, names, "kvwall reproduce")
    return found


def _refuse_twice(papers: dict[Path, Paper]) -> None:
    seen: dict[str, Path] = {}
    for path, paper in papers.items():
        for row in paper.rows:
            if row.id in seen:
                raise InputError(f"{path}: the id {row.id!r} stands in {seen[row.id].name} as well")
            seen[row.id] = path
