"""Inverse questions: roots of known functions, answers put back into the model, and what has no answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.solve import solve
from kvwall.simulator.answers.step import step
from kvwall.simulator.solving.roots import scan
from kvwall.simulator.solving.targets import parse_targets

ASKED: dict[str, Any] = {"on": "h100", "calibration": "none"}


def test_roots_of_a_known_function() -> None:
    """(x - 3)(x - 40) is negative between 3 and 40: what is met begins at one root and ends at the other."""

    def margin(x: float) -> float:
        return (x - 3) * (x - 40)

    grid = np.geomspace(1.0, 100.0, 30)
    found = scan(grid, np.array([margin(x) for x in grid]), margin, whole=False)
    assert [crossing.rises for crossing in found.crossings] == [False, True]
    assert found.crossings[0].value == pytest.approx(3, rel=1e-7)
    assert found.crossings[1].value == pytest.approx(40, rel=1e-7)
    assert all(margin(crossing.value) <= 0 for crossing in found.crossings)


def test_whole_roots_are_the_last_that_meet() -> None:
    """x <= 17.9 is met by 17 and missed by 18."""
    grid = np.array([1.0, 8.0, 64.0])
    found = scan(grid, grid - 17.9, lambda x: x - 17.9, whole=True)
    assert [crossing.value for crossing in found.crossings] == [17.0]


@pytest.mark.parametrize(
    ("unknown", "target", "words"),
    [
        ("context", "tpot_ms<=20", {"batch": 16}),
        ("batch", "tpot_ms<=15", {"context": 4096}),
        ("batch", "tokens_per_s>=1500,tpot_ms<=30", {"context": 8192}),
    ],
)
def test_the_answer_meets_the_targets_and_one_more_does_not(unknown: str, target: str, words: dict[str, Any]) -> None:
    found = solve("llama-3.1-8b", unknown=unknown, target=target, **words, **ASKED)
    assert found.answer is not None
    limits = parse_targets(target)
    for value, met in ((int(found.answer), True), (int(found.answer) + 1, False)):
        point = {"batch": [int(words.get("batch", value))], "context": [int(words.get("context", value))]}
        seconds = step("llama-3.1-8b", **point, **ASKED).points[0]
        measured = {"tpot_ms": seconds.step_s.mid * 1e3, "tokens_per_s": seconds.tokens_per_s.mid}
        holds = all((measured[t.measure] <= t.limit) == t.at_most for t in limits)
        assert holds is met, (value, measured)


@pytest.mark.parametrize(
    ("unknown", "target", "option"),
    [
        ("bandwidth", "step_ms<=18", "set"),
        ("price", "usd_per_million_tokens<=1", "price_usd_per_gpu_hour"),
        ("utilization", "usd_per_million_tokens<=2", "utilization"),
    ],
)
def test_a_continuous_answer_put_back_is_just_met(unknown: str, target: str, option: str) -> None:
    found = solve("llama-3.1-8b", unknown=unknown, target=target, batch=16, **ASKED)
    assert found.answer is not None
    given = (f"device.hbm.bandwidth={found.answer} B/s",) if option == "set" else found.answer
    point = step("llama-3.1-8b", batch=[16], context=[8192], **ASKED, **{option: given}).points[0]
    limit = parse_targets(target)[0].limit
    value = point.step_s.mid * 1e3 if option == "set" else point.usd_per_million_tokens
    assert value == pytest.approx(limit, rel=1e-6)


def test_memory_binds_where_time_does_not() -> None:
    """A loose target leaves the largest batch to memory: what fits, and not one more."""
    found = solve("llama-3.1-8b", unknown="batch", target="tpot_ms<=100000", context=32768, **ASKED)
    assert found.binding == "memory"
    assert found.answer is not None
    fits = step("llama-3.1-8b", batch=[int(found.answer), int(found.answer) + 1], context=[32768], **ASKED).points
    assert [point.fits for point in fits] == [True, False]


def test_bits_and_kept_part_end_up_in_the_stack() -> None:
    bits = solve("llama-3.1-8b", unknown="bits", target="kv_gib<=10", batch=16, **ASKED)
    # 16 GiB at 16 bits: 10 GiB are 10 bits, of which 16 / 128 are the scale of a group.
    assert bits.answer == pytest.approx(10 - 16 / 128, rel=1e-6)
    kept = solve("llama-3.1-8b", unknown="keep", target="kv_gib<=4", batch=16, scheme="palu:keep=0.9", **ASKED)
    assert kept.answer == pytest.approx(0.25, rel=1e-6)


def test_break_even_is_an_equal_step() -> None:
    found = solve("llama-2-7b", unknown="context", between="none;snapkv:budget=1024", batch=4, **ASKED)
    assert found.answer is not None
    first, second = found.checked.values()
    assert first == pytest.approx(second, rel=1e-3)
    same = solve("llama-2-7b", unknown="context", between="none;none", **ASKED)
    assert same.answer is None
    assert same.never_because == "none and none take equally long everywhere"


def test_never_says_how_near_it_came_and_what_binds() -> None:
    found = solve("llama-3.1-8b", unknown="batch", target="tpot_ms<=1", **ASKED)
    assert found.answer is None
    assert found.says_no
    assert found.says_no.startswith("tpot_ms<=1 cannot be met (nearest at batch 1 sequences: tpot_ms ")
    assert found.says_no.endswith("bound by hbm)")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"unknown": "bandwith", "target": "tpot_ms<=5"}, "unknown unknown of --for 'bandwith'; did you mean 'bandwid"),
        ({"unknown": "batch"}, "--target, --between: give one of them, as in --target 'tpot_ms<=50'"),
        ({"unknown": "batch", "target": "tpot<=5"}, "unknown measure of --target 'tpot'; did you mean 'tpot_ms'"),
        ({"unknown": "batch", "target": "tpot_ms=5"}, "--target 'tpot_ms=5': write MEASURE<=NUMBER, as in tpot_ms<=50"),
        ({"unknown": "batch", "target": "tpot_ms<=0"}, "--target tpot_ms<=0: the limit must be above 0"),
        ({"unknown": "context", "between": "fp8"}, "--between fp8: needs two stacks, as in 'fp8;kivi:bits=2'"),
        ({"unknown": "price", "between": "fp8;int4"}, "--for price --between: both schemes pay the same price"),
        (
            {"unknown": "keep", "target": "tpot_ms<=5"},
            "--for keep with --scheme none: no scheme has a keep or a budget",
        ),
    ],
)
def test_bad_questions(words: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        solve("llama-3.1-8b", **words, **ASKED)
    assert str(error.value).startswith(message)
