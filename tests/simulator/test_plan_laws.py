"""Laws of plans: order, front, capacity, targets, users, and the contract of keys."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvwall.simulator.answers.fit import fit
from kvwall.simulator.answers.plan import plan
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.planning.asking import Asked, ask
from kvwall.simulator.planning.choice import TIE_FRACTION, non_dominated
from kvwall.simulator.planning.make import make_plan

SMALL = {"on": "h100:2", "input": 4096, "output": 256, "schemes": "none;fp8;kivi:bits=2", "top": None}
KEYS = [
    "rank", "scheme", "weights", "tp", "pp", "dp", "batch", "ttft_s", "tpot_s", "tokens_per_s", "tokens_per_s_per_gpu",
    "usd_per_million_tokens", "kv_tokens", "users", "pareto", "tied_with", "quality", "engine_flags",
]  # fmt: skip


def combinations(answer):
    return {(c.scheme, c.weights, c.tp, c.pp, c.dp, c.ep, c.attn_dp) for c in answer.candidates}


@pytest.fixture(scope="module")
def default():
    return make_plan(ask(Asked()))


@pytest.fixture(scope="module")
def default_answer():
    return plan(top=None)


def test_the_default_scenario_has_a_plan_and_the_keys_of_the_contract(default_answer):
    assert default_answer.scenario == "default"
    assert default_answer.says_no is None
    document = default_answer.model_dump()
    for candidate in document["candidates"]:
        assert set(KEYS) <= set(candidate)
    assert document["rejected"]
    for row in document["rejected"]:
        assert {"scheme", "tp", "weights", "reason"} <= set(row)
        assert row["reason"]


def test_every_combination_is_either_a_candidate_or_rejected_with_a_reason(default_answer):
    kept = combinations(default_answer)
    lost = {(r.scheme, r.weights, r.tp, r.pp, r.dp, r.ep, r.attn_dp) for r in default_answer.rejected}
    assert kept & lost == set()
    # Ten splits of eight devices, three weight formats, five schemes.
    assert len(kept) + len(lost) == default_answer.combination_count == 150


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        ("cost", lambda c, output: c.usd_per_million_tokens),
        ("throughput", lambda c, output: -c.tokens_per_s.mid),
        ("latency", lambda c, output: c.ttft_s.mid + output * c.tpot_s.mid),
    ],
)
def test_candidates_are_sorted_by_the_objective(objective, value):
    answer = plan("llama-3.1-8b", users=16, objective=objective, **SMALL)
    values = [value(c, answer.output_tokens) for c in answer.candidates]
    assert values == sorted(values)
    assert [c.rank for c in answer.candidates] == list(range(1, len(values) + 1))


def test_the_front_is_what_brute_force_finds(default_answer):
    costs = [(-c.tokens_per_s.mid, c.tpot_s.mid, c.ttft_s.mid) for c in default_answer.candidates]
    for candidate, mine in zip(default_answer.candidates, costs, strict=True):
        beaten = any(all(a <= b for a, b in zip(other, mine, strict=True)) and other != mine for other in costs)
        assert candidate.pareto is not beaten
    assert any(c.pareto for c in default_answer.candidates)
    assert not all(c.pareto for c in default_answer.candidates)


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=30))
def test_the_front_of_any_points(points):
    found = set(non_dominated(np.asarray(points, dtype=float)).tolist())
    for index, mine in enumerate(points):
        beaten = any(all(a <= b for a, b in zip(other, mine, strict=True)) and other != mine for other in points)
        assert (index in found) is not beaten


def test_every_candidate_fits(default):
    for chosen in default.chosen:
        row = chosen.priced
        capacity = Capacity(row.combination.setup, default.question.load.complete_context_tokens)
        assert bool(capacity.fits(float(row.batch[chosen.at]), float(capacity.context)))


def test_a_prompt_that_does_not_fit_while_it_is_prefilled_is_rejected_as_by_fit():
    asked = {"weights": "fp8", "scheme": "snapkv:budget=1024"}
    answer = plan("llama-3.1-8b", on="rtx4090", input=120000, output=500, users=4, **asked)
    assert not answer.candidates
    reason = "a prompt of 120,500 tokens needs 14.71 GiB until its last chunk is prefilled, the pool has 11.46 GiB"
    assert {(row.kind, row.reason) for row in answer.rejected} == {("memory", f"does not fit: {reason}")}
    assert reason in fit("llama-3.1-8b", on="rtx4090", context=120500, **asked).reason


def test_a_prompt_that_fits_while_it_is_prefilled_takes_its_room_from_the_batch():
    asked = Asked("llama-3.1-8b", "h100", 120000, 500, weights="bf16", schemes="snapkv:budget=1024")
    row = make_plan(ask(asked)).rows[0]
    capacity, largest = row.capacity, float(row.batch.max())
    assert largest < float(capacity.held(capacity.kv.mid, 120500.0))
    assert capacity.fits(largest, 120500.0)
    assert not capacity.fits(largest + 1, 120500.0)


def test_without_a_price_worth_the_name_the_cheapest_is_the_fastest():
    free = plan("llama-3.1-8b", users=8, price_usd_per_gpu_hour=0.0, **SMALL)
    fastest = plan("llama-3.1-8b", users=8, objective="throughput", **SMALL)
    order = [(c.scheme, c.weights, c.tp, c.pp, c.batch, c.tied_with) for c in fastest.candidates]
    assert [(c.scheme, c.weights, c.tp, c.pp, c.batch, c.tied_with) for c in free.candidates] == order
    assert {c.usd_per_million_tokens for c in free.candidates} == {0.0}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_no_batch_exceeds_the_largest_of_the_engine(engine):
    limited = plan("llama-3.1-8b", users=64, engine=engine, max_num_seqs=4, **SMALL)
    assert limited.candidates
    assert all(c.batch <= 4 * c.dp for c in limited.candidates)
    assert any(c.wait_s > 0 for c in limited.candidates)
    groups = plan("deepseek-r1", on="h200:8", users=64, engine=engine, max_num_seqs=4, schemes="none", tp=8, top=None)
    assert {c.attn_dp: c.batch for c in reversed(groups.candidates)} == {1: 4, 8: 32}
    refused = plan("llama-3.1-8b", users=64, engine=engine, max_num_seqs=4, batch=[64], **SMALL)
    assert any("--max-num-seqs 4 allows 8 sequences" in row.reason for row in refused.rejected)


def test_every_candidate_keeps_the_targets_and_no_time_is_below_the_bound(default_answer):
    for c in default_answer.candidates:
        assert c.tpot_s.mid <= 0.05
        assert c.ttft_s.mid <= 5
        assert c.tpot_s.low >= c.ideal_step_s
        assert c.tpot_s.mid == pytest.approx(c.step_s + c.others_prefill_s)
        assert c.ttft_s.mid >= c.prefill_s
        assert c.tokens_per_s_per_gpu.mid * 8 == pytest.approx(c.tokens_per_s.mid)
        # 8 x 3.99 USD an hour over the tokens of that hour.
        assert c.usd_per_million_tokens == pytest.approx(8 * 3.99 / (c.tokens_per_s.mid * 3600) * 1e6)


def test_ties_are_mutual_near_and_between_different_combinations(default_answer):
    by_rank = {c.rank: c for c in default_answer.candidates}
    assert any(c.tied_with for c in by_rank.values())
    for c in by_rank.values():
        for rank in c.tied_with:
            other = by_rank[rank]
            ratio = other.usd_per_million_tokens / c.usd_per_million_tokens
            assert abs(ratio - 1) <= TIE_FRACTION
            assert (other.scheme, other.weights, other.tp, other.pp) != (c.scheme, c.weights, c.tp, c.pp)


def test_a_tighter_tpot_never_adds_a_combination():
    seen = None
    for tpot_ms in (200, 25, 15, 10, 1):
        answer = plan("llama-3.1-8b", users=32, tpot_ms=tpot_ms, **{**SMALL, "weights": "bf16"})
        found = combinations(answer)
        if seen is not None:
            assert found <= seen[0]
            assert len(answer.candidates) <= seen[1]
        seen = found, len(answer.candidates)
    assert seen == (set(), 0)


def test_more_users_are_never_easier_to_satisfy():
    kept = [
        combinations(plan("llama-3.1-8b", users=users, tpot_ms=30, ttft_ms=2000, **SMALL))
        for users in (1, 8, 32, 128, 512)
    ]
    assert all(more <= fewer for fewer, more in pairwise(kept))
    assert kept[0]
    assert not kept[-1]


def test_a_remedy_gives_a_plan():
    answer = plan("llama-3.1-8b", users=256, tpot_ms=20, ttft_ms=2000, **SMALL)
    assert not answer.candidates
    assert answer.remedies
    changes = {"--tpot-ms": "tpot_ms", "--ttft-ms": "ttft_ms", "--users": "users", "--on": "on"}
    for remedy in answer.remedies:
        option, value = remedy.split()
        asked = {**SMALL, "users": 256, "tpot_ms": 20, "ttft_ms": 2000}
        asked[changes[option]] = value if option == "--on" else int(value) if option == "--users" else float(value)
        assert plan("llama-3.1-8b", **asked).candidates, remedy


def test_without_users_a_plan_fills_the_machine_and_serves_one_user_a_place():
    answer = plan("llama-3.1-8b", **{**SMALL, "schemes": "none"})
    assert all(c.users == c.batch for c in answer.candidates)
    fullest = max(answer.candidates, key=lambda c: c.batch)
    held = math.floor(fullest.max_concurrency.mid) * fullest.dp
    assert fullest.batch == pytest.approx(held, abs=fullest.dp)


def test_top_keeps_the_first_ranks_and_the_front():
    everything = plan("llama-3.1-8b", users=16, **SMALL)
    few = plan("llama-3.1-8b", users=16, **{**SMALL, "top": 2})
    lossless = next(c.rank for c in everything.candidates if c.scheme == "none")
    assert few.lossless == everything.lossless == lossless
    kept = [c.rank for c in everything.candidates if c.rank <= 2 or c.pareto or c.rank == lossless]
    assert [c.rank for c in few.candidates] == kept
    assert few.candidate_count == len(everything.candidates)


def test_utilization_and_price_divide_and_multiply_the_cost():
    options = {**SMALL, "schemes": "none", "weights": "bf16", "tp": 2, "users": 8}
    plain = plan("llama-3.1-8b", **options, price_usd_per_gpu_hour=2.0).candidates[0]
    half = plan("llama-3.1-8b", **options, price_usd_per_gpu_hour=2.0, utilization=0.5).candidates[0]
    twice = plan("llama-3.1-8b", **options, price_usd_per_gpu_hour=4.0).candidates[0]
    assert half.usd_per_million_tokens == pytest.approx(2 * plain.usd_per_million_tokens)
    assert twice.usd_per_million_tokens == pytest.approx(2 * plain.usd_per_million_tokens)
