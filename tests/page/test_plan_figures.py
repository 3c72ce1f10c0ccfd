"""What the figures of a plan show: the numbers of its candidates, in one unit."""

from __future__ import annotations

import pytest

from kvwall.simulator.answers.plan import PlanAnswer, plan
from kvwall.simulator.figures.pareto import quality
from kvwall.simulator.figures.ranking import costs, ranking


@pytest.fixture(scope="module")
def planned() -> PlanAnswer:
    return plan("llama-3.1-8b", on="h100:1", input=2048, output=256, users=16, schemes="none;fp8;kivi:bits=2", top=None)


def test_the_ranking_shows_dollars_with_bands_around_them(planned: PlanAnswer) -> None:
    bar = ranking(planned).data[0]
    assert list(bar.x) == [row.usd_per_million_tokens for row in planned.candidates[: len(bar.x)]]
    # Dollars a token are dollars an hour over tokens an hour: the slow end is the dear one.
    for cost, up, row in zip(bar.x, bar.error_x.array, planned.candidates, strict=False):
        assert cost + up == pytest.approx(cost * row.tokens_per_s.mid / row.tokens_per_s.low)


def test_one_missing_price_takes_time_for_all(planned: PlanAnswer) -> None:
    first, second = planned.candidates[:2]
    rows = [first.model_copy(update={"usd_per_million_tokens": None}), second]
    priced, shown, unit = costs(rows)
    assert not priced
    assert shown == [first.tpot_s.mid * 1e3, second.tpot_s.mid * 1e3]
    assert unit.startswith("milliseconds")


def test_loss_is_that_of_the_schemes_evidence(planned: PlanAnswer) -> None:
    points = {trace.name: trace for trace in quality(planned).data}
    assert points["none"].x[0] == 0
    best = next(row for row in planned.candidates if row.scheme == "kivi:bits=2")
    worst = max(100 * entry.loss / abs(entry.baseline) for entry in best.quality)
    assert points["kivi:bits=2"].x[0] == worst
    assert points["kivi:bits=2"].y[0] == best.usd_per_million_tokens
