"""The choice: which priced points keep the targets, which are best, which are on the front, which tie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kvwall.simulator.planning.combinations import Rejected
from kvwall.simulator.planning.load import counted
from kvwall.simulator.planning.pricing import Priced
from kvwall.simulator.planning.question import Objective, Question, Targets
from kvwall.simulator.traffic import Array

#: Two combinations whose objectives differ by less are not told apart. Errors that all combinations share cancel in a
#: comparison; what is left is about the error of a step whose kernels were measured (a few percent).
TIE_FRACTION = 0.05


@dataclass(frozen=True)
class Chosen:
    """One batch of one priced combination.

    :ivar at: position of the batch
    :ivar rank: 1 is the best by the objective
    :ivar pareto: nothing that keeps the targets is at least as good in tokens per second, TPOT and TTFT, and better
        in one of them
    :ivar tied_with: ranks of other combinations that the objective does not tell apart from this one
    """

    priced: Priced
    at: int
    rank: int
    pareto: bool
    tied_with: tuple[int, ...] = ()


def keeps(priced: Priced, targets: Targets) -> npt.NDArray[np.bool_]:
    """Whether each batch keeps the targets at the middle of its band."""
    kept = np.ones(priced.batch.shape, dtype=np.bool_)
    if targets.tpot_s is not None:
        kept &= priced.mid.tpot_s <= targets.tpot_s
    if targets.ttft_s is not None:
        kept &= priced.mid.ttft_s <= targets.ttft_s
    return kept


def score(priced: Priced, objective: Objective, output_tokens: float) -> Array:
    """What the objective minimises: seconds per token of the deployment, or seconds per answer.

    All combinations rent the same devices, so the cheapest token is the one of the highest throughput; the cost is the
    score where a price is known and is not zero.
    """
    if objective == "latency":
        return priced.mid.ttft_s + output_tokens * priced.mid.tpot_s
    usd = priced.usd_per_million_tokens
    if objective == "cost" and usd is not None and np.all(usd > 0):
        return usd
    return 1.0 / priced.mid.tokens_per_s


def choose(rows: Sequence[Priced], question: Question) -> list[Chosen]:
    """The best batch of every combination that keeps the targets, and every point of the front, ranked."""
    output = question.load.output_tokens
    points: list[tuple[float, int, int]] = []
    best: set[tuple[int, int]] = set()
    for index, row in enumerate(rows):
        kept = np.flatnonzero(keeps(row, question.targets))
        if kept.size == 0:
            continue
        scores = score(row, question.objective, output)
        points += [(float(scores[at]), index, int(at)) for at in kept]
        best.add((index, int(kept[np.argmin(scores[kept])])))
    if not points:
        return []
    costs = np.asarray([_costs(rows[index], at) for _, index, at in points])
    front = {points[i][1:] for i in non_dominated(costs)}
    listed = sorted(point for point in points if point[1:] in best | front)
    ranked = [
        Chosen(rows[index], at, rank, (index, at) in front) for rank, (_, index, at) in enumerate(listed, start=1)
    ]
    return _tied(ranked, np.asarray([value for value, _, _ in listed]))


def _costs(row: Priced, at: int) -> tuple[float, float, float]:
    return -float(row.mid.tokens_per_s[at]), float(row.mid.tpot_s[at]), float(row.mid.ttft_s[at])


def non_dominated(costs: Array) -> npt.NDArray[np.intp]:
    """Positions of the rows of ``costs`` (smaller is better) that no other row beats; equal rows all stay."""
    left = np.arange(costs.shape[0])
    values, at = costs, 0
    while at < values.shape[0]:
        better = np.any(values < values[at], axis=1) | np.all(values == values[at], axis=1)
        at = int(np.sum(better[:at])) + 1
        values, left = values[better], left[better]
    return left


def _tied(ranked: list[Chosen], scores: Array) -> list[Chosen]:
    made = []
    for chosen, value in zip(ranked, scores, strict=True):
        near = np.flatnonzero(np.abs(scores / value - 1) <= TIE_FRACTION)
        others = [ranked[i] for i in near if ranked[i].priced is not chosen.priced]
        made.append(replace(chosen, tied_with=tuple(other.rank for other in others)))
    return made


def misses(row: Priced, question: Question) -> Rejected:
    """Why no batch of ``row`` keeps the targets, told by the batch that misses least."""
    targets = question.targets
    at = int(np.argmin(excess(row, targets)))
    tpot, ttft, wait = float(row.mid.tpot_s[at]), float(row.mid.ttft_s[at]), float(row.mid.wait_s[at])
    batch = int(row.batch[at])
    parts = []
    if targets.tpot_s is not None and tpot > targets.tpot_s:
        parts.append(f"TPOT {tpot * 1e3:.1f} ms > {targets.tpot_s * 1e3:g} ms")
    if targets.ttft_s is not None and ttft > targets.ttft_s:
        parts.append(f"TTFT {ttft:.2f} s > {targets.ttft_s:g} s")
    reason = f"{' and '.join(parts)} at batch {batch:,}"
    if wait > 0:
        crowd = counted(question.load.users or 0, "user")
        reason += f": {crowd} share its places, {wait:.1f} s of the TTFT is their wait"
    late = targets.tpot_s is not None and tpot > targets.tpot_s
    return row.combination.rejected(reason, "TPOT" if late else "TTFT", float(excess(row, targets)[at]))


def excess(row: Priced, targets: Targets) -> Array:
    """By which factor each batch misses its worst target; up to 1 where it keeps all."""
    worst = np.zeros(row.batch.shape)
    if targets.tpot_s is not None:
        worst = np.maximum(worst, row.mid.tpot_s / targets.tpot_s)
    if targets.ttft_s is not None:
        worst = np.maximum(worst, row.mid.ttft_s / targets.ttft_s)
    return worst
