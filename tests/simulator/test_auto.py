"""Free parameters: what pricing picks is what trying every value finds."""

from __future__ import annotations

import pytest

from kvwall.simulator.answers.explain import explain
from kvwall.simulator.answers.fit import fit
from kvwall.simulator.answers.step import step
from kvwall.simulator.auto import free_parameter
from kvwall.simulator.stack import parse_stack


def test_a_parameter_is_free_when_it_stands_at_auto() -> None:
    free, fixed = parse_stack("offload:fraction=auto").schemes[0], parse_stack("offload:fraction=0.5").schemes[0]
    assert free_parameter(free) == "fraction"
    assert free_parameter(fixed) is None


@pytest.mark.parametrize(("model", "batch"), [("llama-3.1-8b", 2), ("llama-3.1-8b", 6), ("llama-3.1-8b", 12)])
def test_the_best_by_trying_all(model: str, batch: int) -> None:
    tried = {}
    for percent in range(0, 101, 2):
        text = f"offload:to=host,fraction={percent / 100:g}"
        point = step(model, on="h100", scheme=text, batch=[batch], context=[131072]).points[0]
        if point.fits:
            tried[text] = point.step_s.mid
    best = min(tried, key=lambda text: tried[text])
    answer = step(model, on="h100", scheme="offload:to=host,fraction=auto", batch=[batch], context=[131072])
    assert answer.points[0].fits
    assert answer.points[0].step_s.mid == pytest.approx(tried[best], rel=1e-12)
    assert answer.scheme == best
    value = best.rpartition("=")[2]
    note = f"offload: fraction=auto settled at {value} (shortest step that fits the largest point)"
    assert note in answer.assumptions


def test_one_value_serves_a_whole_table() -> None:
    table = step("llama-3.1-8b", on="h100", scheme="offload:fraction=auto", batch=[1, 6], context=[1024, 131072])
    largest = step("llama-3.1-8b", on="h100", scheme="offload:fraction=auto", batch=[6], context=[131072])
    assert table.scheme == largest.scheme
    assert table.points[-1] == largest.points[0]


def test_fit_and_explain_settle_it_too() -> None:
    words = {"on": "h100", "scheme": "offload:fraction=auto", "context": 131072}
    stepped = step("llama-3.1-8b", on="h100", scheme="offload:fraction=auto", batch=[6], context=[131072])
    assert explain("llama-3.1-8b", batch=6, **words).scheme == stepped.scheme  # type: ignore[arg-type]
    told = fit("llama-3.1-8b", users=6, **words)  # type: ignore[arg-type]
    assert told.scheme == stepped.scheme
    assert told.fits


def test_where_nothing_fits_the_most_is_moved_and_told() -> None:
    answer = step("llama-3.1-405b", on="h100", scheme="offload:fraction=auto", batch=[1], context=[8192])
    assert answer.scheme == "offload:fraction=1"
    assert not answer.points[0].fits
    assert "offload: no fraction fits 1 x 8192 tokens; priced at 1" in answer.assumptions
