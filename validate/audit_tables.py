"""The audit as tables, for a terminal and for the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kvwall.validate.audit import AuditAnswer
from kvwall.validate.pools import PoolCheck
from kvwall.validate.rates import RateCheck
from kvwall.validate.rules import RuleCheck
from kvwall.validate.startup_logs import LogCheck

#: Columns of sentences, always last in a row.
PROSE = frozenset({"reading", "rule", "why"})


@dataclass(frozen=True)
class Section:
    """One table: its title, what it says in a sentence, and its cells.

    :ivar left: leading columns that are text
    """

    title: str
    says: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int


def sections(answer: AuditAnswer, details: bool) -> Iterator[Section]:
    """The tables of ``answer``; ``details`` adds what was asked of each row, its reading, and logs without a rule."""
    yield _rates(answer.rates, details)
    yield _rules(answer.rules, details)
    yield _pools(answer, details)
    yield _logs(answer.logs, details)


def markdown(answer: AuditAnswer) -> str:
    """All tables as Markdown."""
    parts = []
    for section in sections(answer, details=True):
        ruled = ["---" if i < section.left else "---:" for i in range(len(section.columns))]
        lines = [f"### {section.title}", "", section.says, "", _row(section.columns), _row(ruled)]
        parts.append("\n".join([*lines, *map(_row, section.rows)]))
    return "\n\n".join(parts) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _rates(checks: Sequence[RateCheck], details: bool) -> Section:
    rows = tuple(
        (
            c.id,
            c.model + (" *" if c.inferred else ""),
            *((c.engine, "" if c.scheme == "none" else c.scheme, str(c.tp)) if details else ()),
            f"{c.printed_bytes:,.0f}",
            f"{c.predicted_bytes:,.0f}",
            f"{c.error:+.3%}",
            f"{c.tolerance:.3%}",
            _yes(c.holds),
            *((f"{c.printed_tokens:,}", f"{c.predicted_tokens:,}") if details else ()),
            _yes(c.tokens_hold),
        )
        for c in checks
    )
    held, tokens = sum(c.holds for c in checks), sum(c.tokens_hold for c in checks)
    says = (
        f"Bytes of one token of one rank: {held} of {len(checks)} within 0.1 % and half of the last printed digit. "
        f"Tokens of the printed pool: {tokens} of {len(checks)} within the printed digits and one block "
        "(*: the model was told from these bytes, so that such a row tests rounding alone)."
    )
    asked = ("engine", "scheme", "TP") if details else ()
    tokens_of = ("printed tokens", "kvwall tokens") if details else ()
    columns = ("row", "model", *asked, "printed B", "kvwall B", "error", "allowed", "holds", *tokens_of, "tokens hold")
    return Section("Bytes of a token", says, columns, rows, 4 if details else 2)


def _rules(checks: Sequence[RuleCheck], details: bool) -> Section:
    rows = tuple(
        (
            c.id,
            c.engine,
            c.model,
            c.what,
            _amount(c.printed, c.unit),
            _amount(c.predicted, c.unit),
            f"{c.error:+.2%}",
            _yes(c.holds),
            *((c.rule,) if details else ()),
        )
        for c in checks
    )
    says = (
        f"Numbers that pages, windows, states, drafts or another allocator make: {sum(c.holds for c in checks)} of "
        f"{len(checks)} within the printed digits and one block; the reading says why the others are not."
    )
    columns = ("row", "engine", "model", "what", "printed", "kvwall", "error", "holds", *(("rule",) if details else ()))
    return Section("Rules of the engines", says, columns, rows, 4)


def _pools(answer: AuditAnswer, details: bool) -> Section:
    s = answer.pool_summary
    left = "; ".join(f"{name}: {why}" for name, why in answer.left_out.items())
    says = (
        f"The cache from flags alone, weights and reserve included: {s.n} starts, median |error| {s.median_error:.1%}, "
        f"90th percentile {s.p90_error:.1%}, median error {s.bias:+.1%}, {s.coverage:.0%} inside the band. "
        f"Left out: {left}."
    )
    asked = ("engine", "device", "TP") if details else ()
    numbers = ("printed", "low", "kvwall", "high", "error", "inside")
    columns = ("start", "model", *asked, *numbers, *(("reading",) if details else ()))
    rows = tuple(_pool(check, details) for check in answer.pools)
    return Section("KV capacity from flags alone", says, columns, rows, 4 if details else 2)


def _pool(c: PoolCheck, details: bool) -> tuple[str, ...]:
    show: Callable[[float], str] = lambda value: _amount(value, c.unit)  # noqa: E731
    error = "-" if c.error is None else f"{c.error:+.1%}"
    band = (show(c.predicted.low), show(c.predicted.mid), show(c.predicted.high))
    numbers = (show(c.printed), *band, error, _yes(c.inside))
    asked = (c.engine, c.device, str(c.tp)) if details else ()
    return (c.id, c.model, *asked, *numbers, *((c.reading,) if details else ()))


def _logs(checks: Sequence[LogCheck], details: bool) -> Section:
    shown = [c for c in checks if details or c.rules]
    rows = tuple(
        (
            c.file.removesuffix(".log"),
            c.model or "-",
            str(c.rules),
            str(c.agree),
            str(c.within_two_percent),
            "-" if c.worst_error is None else f"{c.worst_error:.2%}",
            str(c.impossible),
            *((c.why,) if details else ()),
        )
        for c in shown
    )
    rules = sum(c.rules for c in checks)
    says = (
        f"Lines of {len(checks)} quoted start-up logs that follow from other lines of the same log: "
        f"{sum(c.agree for c in checks)} of {rules} agree to the printed digits and one block, "
        f"{sum(c.within_two_percent for c in checks)} lie within 2 %."
    )
    columns = ("log", "model", "lines", "agree", "within 2 %", "worst", "impossible", *(("why",) if details else ()))
    return Section("Start-up logs", says, columns, rows, 2)


def _amount(value: float, unit: str) -> str:
    return f"{value:,.0f}" if unit in {"tokens", "blocks"} else f"{value:,.2f}"


def _yes(holds: bool) -> str:
    return "yes" if holds else "NO"
