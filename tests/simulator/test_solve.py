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


def test_gpus_are_a_number_that_people_rent() -> None:
    """Eight miss 12 ms and sixteen meet it: what lies between is no whole node, and is no answer."""
    found = solve(
        "llama-3.3-70b", unknown="gpus", target="tpot_ms<=12", weights="fp8", batch=8, context=32768,
        on="h100", calibration="auto",
    )  # fmt: skip
    assert found.answer == 16
    assert [root.value for root in found.roots] == [16]
    assert "'h100:16' is 16 x NVIDIA H100 SXM5 80GB (h100-sxm5-80gb), split tp8 pp2" in found.assumptions


def test_memory_alone_is_a_target() -> None:
    """37,765 tokens are 47.2 sequences of 800."""
    found = solve("llama-3.1-8b", unknown="batch", target="memory", context=800, kv_tokens=37765, **ASKED)
    assert (found.answer, found.binding, found.answer_band) == (47, "memory", None)
    assert found.checked == {"kv_gib": 47 * 800 * 131072 / 2**30}


def test_the_answer_stands_in_the_stack_and_among_what_was_assumed() -> None:
    kept = solve("llama-3.1-8b", unknown="keep", target="kv_gib<=2", scheme="snapkv:budget=99", batch=16, **ASKED)
    assert kept.answer is not None
    assert kept.scheme == f"snapkv:budget={round(kept.answer * 8192)}"
    price = solve("llama-3.1-8b", unknown="price", target="usd_per_million_tokens<=1", batch=16, **ASKED)
    assert not [line for line in price.assumptions if line.startswith("price ")]


def test_a_break_even_beyond_memory_is_told() -> None:
    """The pool of 4,096 tokens holds no batch of sixteen at the break-even."""
    words: dict[str, Any] = {"unknown": "context", "between": "none;snapkv:budget=1024", "batch": 4}
    assert solve("llama-2-7b", **words, **ASKED).warnings == ()
    told = solve("llama-2-7b", kv_gib=0.5, **words, **ASKED)
    assert told.answer is not None
    assert f"the cache of none does not fit at context {told.answer:g} tokens" in told.warnings


@pytest.mark.parametrize("between", ["fp8;quantize:bits=16,group=128", "quantize:bits=16,group=128;fp8"])
def test_never_of_a_break_even_tells_the_nearest_point(between: str) -> None:
    """Twice the bytes are slower at every context, and least so where least is cached: at one token."""
    found = solve("llama-3.1-8b", unknown="context", between=between, **ASKED)
    assert found.answer is None
    assert str(found.never_because).startswith("fp8 is faster than quantize:bits=16,group=128 everywhere (nearest, by ")
    assert str(found.never_because).endswith(" at context 1 tokens)")


def test_a_draw_at_one_end_is_not_told_as_faster_everywhere() -> None:
    """SnapKV keeps a context no longer than its budget whole: it reads as much there, and less beyond."""
    found = solve("llama-3.1-8b", unknown="context", between="snapkv:budget=1024;none", **ASKED)
    assert found.never_because == "snapkv:budget=1024 is never slower than none (equal at context 1 tokens)"


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
        (
            {"unknown": "batch", "target": "tpot_ms=5"},
            "--target 'tpot_ms=5': write MEASURE<=NUMBER, as in tpot_ms<=50, or memory",
        ),
        ({"unknown": "batch", "target": "tpot_ms<=0"}, "--target tpot_ms<=0: the limit must be above 0"),
        ({"unknown": "context", "between": "fp8"}, "--between fp8: needs two stacks, as in 'fp8;kivi:bits=2'"),
        (
            {"unknown": "bits", "target": "tpot_ms<=5", "scheme": "fp8"},
            "--for bits: the stack has none to solve for, and they cannot be added (scheme 'fp8+quantize",
        ),
        ({"unknown": "price", "target": "tpot_ms<=5"}, "--for price: changes only what a token costs; give --target"),
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
