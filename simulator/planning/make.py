"""Making a plan: from a question to ranked choices, rejections and what would help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from kvwall.hardware.errors import InputError
from kvwall.simulator.inquiry import Inquiry, Resolved, resolve
from kvwall.simulator.planning.choice import Chosen, choose, keeps, misses
from kvwall.simulator.planning.combinations import Combination, Rejected, combinations, default_schemes
from kvwall.simulator.planning.pricing import Priced, priced
from kvwall.simulator.planning.quality_limit import quality_refusal
from kvwall.simulator.planning.question import Question
from kvwall.simulator.planning.remedy import remedies, within_budget
from kvwall.simulator.stack import parse_stack

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """A plan.

    :ivar rows: every combination that fits, priced
    :ivar chosen: those that keep the targets, best first
    :ivar rejected: the others, with their reasons
    :ivar remedies: what would give a plan, when nothing was chosen
    """

    question: Question
    resolved: Resolved
    rows: tuple[Priced, ...]
    chosen: tuple[Chosen, ...]
    rejected: tuple[Rejected, ...]
    remedies: tuple[str, ...] = ()


def make_plan(question: Question, progress: Progress | None = None) -> Plan:
    """The plan that answers ``question``.

    :param progress: called with the combinations done and their number
    :raises InputError: anything unknown, impossible or contradictory
    """
    resolved, rows, rejected = _price_all(question, progress)
    chosen = () if _over_budget(question, resolved) else tuple(choose(rows, question))
    rejected += [misses(row, question) for row in rows if not keeps(row, question.targets).any()]
    helping: tuple[str, ...] = ()
    if not chosen:
        hourly = resolved.setup.usd_per_hour
        if hourly is not None and _over_budget(question, resolved):
            helping = within_budget(question, hourly, _has_plan)
        else:
            helping = remedies(rows, question, _has_plan)
    return Plan(question, resolved, tuple(rows), chosen, tuple(rejected), helping)


def _has_plan(question: Question) -> bool:
    """Whether any combination keeps the targets; stops at the first."""
    resolved = resolve(_inquiry(question))
    question, _ = _within_quality(question, resolved)
    if _over_budget(question, resolved):
        return False
    found = (priced(item, question) for item in combinations(resolved.setup, question) if isinstance(item, Combination))
    return any(keeps(row, question.targets).any() for row in found if isinstance(row, Priced))


def _price_all(question: Question, progress: Progress | None) -> tuple[Resolved, list[Priced], list[Rejected]]:
    resolved = resolve(_inquiry(question))
    question, rejected = _within_quality(question, resolved)
    found = list(combinations(resolved.setup, question))
    rows: list[Priced] = []
    for done, item in enumerate(found):
        result = priced(item, question) if isinstance(item, Combination) else item
        if isinstance(result, Priced):
            rows.append(result)
        else:
            rejected.append(result)
        if progress is not None:
            progress(done + 1, len(found))
    return resolved, rows, rejected


def _inquiry(question: Question) -> Inquiry:
    """The inquiry behind all combinations; only what is not free to choose is passed on."""
    if "=" in question.on:
        raise InputError(f"--on {question.on!r}: a plan serves prefill and decode on one pool (write h100:8)")
    free = question.freedom
    pinned: dict[str, Any] = {
        name: values[0] for name, values in (("tp", free.tp), ("pp", free.pp)) if values and len(values) == 1
    }
    return Inquiry(question.model, question.on, **question.options, **pinned)


def _within_quality(question: Question, resolved: Resolved) -> tuple[Question, list[Rejected]]:
    """The question without the schemes that may lose too much quality, and their rejections."""
    limits = question.targets.quality_loss
    if not limits:
        return question, []
    setup = resolved.setup
    texts = question.freedom.schemes
    if texts is None:
        texts = default_schemes(setup.system, setup.engine.engine)
    kept, rejected = [], []
    for text in texts:
        refusal = quality_refusal(parse_stack(text), limits)
        if refusal is None:
            kept.append(text)
        else:
            rejected.append(Rejected(refusal, "quality", scheme=parse_stack(text).text))
    return replace(question, freedom=replace(question.freedom, schemes=tuple(kept))), rejected


def _over_budget(question: Question, resolved: Resolved) -> bool:
    budget, hourly = question.targets.budget_usd_per_hour, resolved.setup.usd_per_hour
    return budget is not None and hourly is not None and hourly > budget
