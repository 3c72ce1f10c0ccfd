"""``kvwall list``: what kvwall knows by name."""

from __future__ import annotations

from collections.abc import Iterable

from kvwall.hardware.errors import canonical, suggestion
from kvwall.simulator.answers.base import Answer
from kvwall.simulator.answers.catalogue_rows import ROWS, kind_rows
from kvwall.simulator.answers.kinds import find_kind
from kvwall.simulator.answers.rows import AnyRow, Row


class ListAnswer(Answer):
    """Rows of one kind; without a kind, the kinds themselves."""

    kind: str
    filter: str | None
    rows: tuple[AnyRow, ...]


def catalogue(kind: str | None = None, filter: str | None = None) -> ListAnswer:
    """All members of ``kind``.

    :param kind: ``devices``, ``models``, ..., singular or plural; the kinds themselves when left out
    :param filter: words that a row must hold, each in any of its texts, whatever their case and punctuation
    :raises UnknownNameError: no such kind
    """
    found = find_kind(kind) if kind else None
    rows = ROWS[found.plural]() if found else kind_rows()
    words = [canonical(word) for word in (filter or "").split()]
    kept = tuple(row for row in rows if _holds(row, words))
    plural = found.plural if found else "kinds"
    return ListAnswer(kind=plural, filter=filter, rows=kept, warnings=_nothing(plural, filter, rows, kept))


def _holds(row: Row, words: Iterable[str]) -> bool:
    texts = [canonical(text) for text in _texts(row)]
    return all(any(word in text for text in texts) for word in words)


def _texts(row: Row) -> Iterable[str]:
    """Every text of a row, those in its lists too."""
    for value in row.model_dump().values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from (item for item in value if isinstance(item, str))


def _nothing(plural: str, filter: str | None, rows: Iterable[Row], kept: tuple[Row, ...]) -> tuple[str, ...]:
    if kept or not filter:
        return ()
    names = [name for row in rows for name in (row.name, *row.aliases)]
    return (f"nothing in {plural} holds {filter!r}{suggestion(filter, names)}",)


__all__ = ["ListAnswer", "catalogue"]
