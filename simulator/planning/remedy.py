"""The smallest change that would give a plan: one target relaxed, fewer users, or more devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import ceil

import numpy as np

from kvwall.hardware.errors import KvwallError
from kvwall.hardware.library import split_count
from kvwall.simulator.planning.choice import keeps
from kvwall.simulator.planning.pricing import Priced
from kvwall.simulator.planning.question import Question

#: Changes told at most, the smallest first.
_MOST = 3
#: How many times the devices to try, where something fits and where nothing does.
_FACTORS, _FACTORS_TO_FIT = (2, 4), (2, 4, 8, 16)


def remedies(rows: Sequence[Priced], question: Question, answers: Callable[[Question], bool]) -> tuple[str, ...]:
    """Changes that would give a plan, each alone, smallest relative change first.

    :param rows: what fits, priced
    :param answers: whether a changed question has a plan
    """
    found = sorted([*_relaxed(rows, question), *_without_schemes(rows, question, answers)])
    if not rows or not found or found[0][0] > 0.5:
        found = sorted([*found, *_more_devices(question, _FACTORS if rows else _FACTORS_TO_FIT, answers)])
    return tuple(text for _, text in found[:_MOST])


def within_budget(question: Question, hourly_usd: float, answers: Callable[[Question], bool]) -> tuple[str, ...]:
    """Changes that bring a deployment of ``hourly_usd`` within the budget: a larger one, or fewer devices."""
    name, count = split_count(question.on, "--on")
    budget = question.targets.budget_usd_per_hour or 0.0
    fewer = _with_devices(question, name, int(budget / hourly_usd * count))
    helps = fewer is not None and _answers(fewer, answers)
    more = f"--budget-usd-per-hour {ceil(hourly_usd * 100) / 100:.2f}"
    return (more, f"--on {fewer.on}") if helps and fewer is not None else (more,)


def _without_schemes(
    rows: Sequence[Priced], question: Question, answers: Callable[[Question], bool]
) -> Iterator[tuple[float, str]]:
    """No scheme at all, where those that were asked for cannot be used."""
    if rows or question.freedom.schemes is None or "none" in question.freedom.schemes:
        return
    if answers(replace(question, freedom=replace(question.freedom, schemes=("none",)))):
        yield 0.0, "--schemes none"


def _relaxed(rows: Sequence[Priced], question: Question) -> Iterator[tuple[float, str]]:
    """``(relative change, option)`` for each target that could give way alone."""
    t = question.targets
    if t.tpot_s is not None:
        least = _least(rows, replace(question, targets=replace(t, tpot_s=None)), lambda row: row.mid.tpot_s)
        if least is not None and least > t.tpot_s:
            yield least / t.tpot_s - 1, f"--tpot-ms {_rounded_up(least * 1e3)}"
    if t.ttft_s is not None:
        least = _least(rows, replace(question, targets=replace(t, ttft_s=None)), lambda row: row.mid.ttft_s)
        if least is not None and least > t.ttft_s:
            yield least / t.ttft_s - 1, f"--ttft-ms {_rounded_up(least * 1e3)}"
    if question.load.users is not None:
        users = max((_served(row, question) for row in rows), default=0)
        if 0 < users < question.load.users:
            yield question.load.users / users - 1, f"--users {users}"


def _least(rows: Sequence[Priced], question: Question, of: Callable[[Priced], np.ndarray]) -> float | None:
    kept = [of(row)[keeps(row, question.targets)] for row in rows]
    values = np.concatenate(kept) if kept else np.empty(0)
    return float(values.min()) if values.size else None


def _served(row: Priced, question: Question) -> int:
    """Users that ``row`` serves within the targets when none of them waits for a place."""
    t = question.targets
    good = np.ones(row.batch.shape, dtype=np.bool_)
    if t.tpot_s is not None:
        good &= row.mid.tpot_s <= t.tpot_s
    if t.ttft_s is not None:
        good &= row.mid.ttft_s - row.mid.wait_s <= t.ttft_s
    return int(row.mid.users[good].max() * (1 + 1e-9)) if good.any() else 0


def _more_devices(
    question: Question, factors: tuple[int, ...], answers: Callable[[Question], bool]
) -> Iterator[tuple[float, str]]:
    name, count = split_count(question.on, "--on")
    for factor in factors:
        larger = _with_devices(question, name, count * factor)
        if larger is not None and _answers(larger, answers):
            yield float(factor - 1), f"--on {larger.on}"
            return


def _with_devices(question: Question, name: str, count: int) -> Question | None:
    """The question on ``count`` devices, with replicas and nodes free again; ``None`` without a device."""
    free = {key: value for key, value in question.options.items() if key not in {"nodes", "dp"}}
    return replace(question, on=f"{name}:{count}", options=free) if count else None


def _answers(question: Question, answers: Callable[[Question], bool]) -> bool:
    try:
        return answers(question)
    except KvwallError:  # so many devices cannot be split or spread over nodes
        return False


def _rounded_up(value: float) -> str:
    """The smallest number of three digits that is not below ``value``."""
    digits = max(0, 2 - int(np.floor(np.log10(value))))
    return f"{np.ceil(value * 10**digits) / 10**digits:.{digits}f}"
