"""Explain: the bill adds up, and the numbers put into an equation give the amount."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from kvwall.simulator.answers.explain import ExplainAnswer, explain
from kvwall.simulator.answers.step import step

#: Setups that between them use every operator, stream and residual of the bill.
SETUPS: dict[str, dict[str, Any]] = {
    "one device": {"model": "llama-3.1-8b", "on": "h100"},
    "eager": {"model": "llama-3.1-8b", "on": "a100", "eager": True},
    "tensor parallel": {"model": "llama-3.1-70b", "on": "h100:8", "batch": 64},
    "pipeline": {"model": "llama-3.1-70b", "on": "h100:16", "nodes": 2, "batch": 32},
    "replicas": {"model": "llama-3.1-8b", "on": "h100:8", "tp": 2, "batch": 64},
    "experts": {"model": "mixtral-8x7b", "on": "h100:8", "batch": 32},
    "experts apart": {"model": "deepseek-v3", "on": "h200:8", "ep": 8, "attn_dp": 8, "batch": 256},
    "latents over ranks": {"model": "deepseek-v3", "on": "h200:8", "dcp": 8, "context": 131072},
    "indexer": {"model": "deepseek-v3.2", "on": "h200:8", "batch": 16, "context": 65536},
    "windows": {"model": "gemma-3-12b", "on": "h100", "batch": 8, "context": 32768},
    "states": {"model": "qwen3-next-80b-a3b", "on": "h100:4", "batch": 8},
    "quest": {"model": "llama-3.1-8b", "on": "h100", "scheme": "quest:budget=1024", "context": 32768},
    "kivi": {"model": "llama-3.1-8b", "on": "rtx4090", "scheme": "kivi:bits=2", "batch": 4},
    "palu": {"model": "llama-3.1-8b", "on": "h100", "scheme": "palu:keep=0.5+kivi:bits=4", "batch": 4},
    "snapkv": {"model": "llama-3.1-8b", "on": "h100", "scheme": "snapkv:budget=1024", "batch": 4},
    "prefix": {"model": "llama-3.1-8b", "on": "h100", "scheme": "prefix:tokens=4096", "batch": 16},
    "offload": {"model": "llama-3.1-8b", "on": "h100", "scheme": "offload:to=host", "batch": 4},
    "offload to drives": {"model": "llama-3.1-8b", "on": "h100", "scheme": "fp8+offload:to=ssd,fraction=0.5"},
    "attention on the host": {"model": "llama-3.1-8b", "on": "a10", "scheme": "offload:attend=host", "weights": "int4"},
    "draft": {"model": "deepseek-v3", "on": "h200:8", "speculative": "mtp:3", "batch": 16},
    "lookup": {"model": "llama-3.1-8b", "on": "h100", "speculative": "ngram:4"},
    "adapters": {"model": "llama-3.1-8b", "on": "h100", "lora": "8:16", "batch": 16},
    "fp8 weights": {"model": "llama-3.1-70b", "on": "a100:4", "weights": "fp8", "batch": 4},
    "prefill": {"model": "llama-3.1-8b", "on": "h100:2", "phase": "prefill", "context": 20000},
    "no engine": {"model": "llama-3.1-8b", "on": "mi300x", "engine": "none"},
}

_FUNCTIONS = {"min": min, "max": max, "ceil": math.ceil, "log2": math.log2}
_NUMBERS_ONLY = re.compile(r"(?:[-+*/(), ]|\d+(?:\.\d+)?(?:e[-+]?\d+)?|min|max|ceil|log2)+")


@pytest.fixture(scope="module", params=SETUPS)
def told(request: pytest.FixtureRequest) -> ExplainAnswer:
    return explain(**SETUPS[request.param])


def test_the_charged_seconds_add_up_to_the_step(told: ExplainAnswer) -> None:
    assert math.fsum(term.charged_s for term in told.terms) == pytest.approx(told.step_s.mid, rel=1e-9)
    assert math.fsum(term.share for term in told.terms) == pytest.approx(1.0, rel=1e-9)
    assert all(term.charged_s >= 0 and term.alone_s >= 0 for term in told.terms)


def test_no_step_is_faster_than_its_bound(told: ExplainAnswer) -> None:
    assert 0 < told.ideal_step_s <= told.step_s.low <= told.step_s.mid <= told.step_s.high


def test_the_numbers_put_into_an_equation_give_the_amount(told: ExplainAnswer) -> None:
    checked = 0
    for term in told.terms:
        assert term.equation
        assert term.reference
        if not _NUMBERS_ONLY.fullmatch(term.substituted):
            # Only what a smooth maximum adds, and the amounts that a rank has a share of, are told in words.
            assert term.name == "imperfect overlap", term
            continue
        value = eval(term.substituted, {"__builtins__": {}}, _FUNCTIONS)
        assert value == pytest.approx(term.per_rank_amount, rel=1e-4, abs=1e-12), term
        checked += 1
    assert checked > 10


def test_levels_move_at_least_what_nobody_avoids(told: ExplainAnswer) -> None:
    levels = {level.level: level for level in told.levels}
    assert levels["hbm"].moved_bytes > 0
    for level in told.levels:
        assert level.moved_bytes >= level.compulsory_bytes >= 0
        if level.compulsory_bytes:
            assert level.ratio == pytest.approx(level.moved_bytes / level.compulsory_bytes)


def test_explain_and_step_tell_one_story() -> None:
    words = {"scheme": "kivi:bits=2", "engine": "sglang"}
    told = explain("llama-3.1-8b", on="h100", batch=4, context=8192, **words)
    point = step("llama-3.1-8b", on="h100", batch=[4], context=[8192], **words).points[0]
    assert (told.step_s, told.ideal_step_s, told.bound_by) == (point.step_s, point.ideal_step_s, point.bound_by)
    assert sum(term.amount for term in told.terms) == pytest.approx(sum(term.amount for term in point.terms))


def test_logical_physical_and_peak_bytes_of_a_dense_cache() -> None:
    # 2 x 32 layers x 8 heads x 128 channels x 2 bytes = 131072 bytes a token; 100 tokens fill 7 blocks of 16.
    cache = explain("llama-3.1-8b", on="h100", batch=3, context=100).cache
    assert cache.logical_bytes == 131072 * 100 * 3
    assert cache.physical_bytes == 131072 * 112 * 3
    assert cache.peak_bytes == cache.physical_bytes


def test_replicated_heads_count_as_often_as_they_are_stored() -> None:
    # 8 KV heads on 16 ranks: every head lies on two of them.
    cache = explain("llama-3.1-8b", on="h100:16", nodes=2, tp=16, pp=1, dp=1, context=160).cache
    assert cache.logical_bytes == 131072 * 160 * 2
    assert cache.physical_bytes == 131072 * 160 * 2


def test_an_eviction_peaks_at_the_whole_prompt() -> None:
    cache = explain("llama-3.1-8b", on="h100", context=32768, scheme="snapkv:budget=1024").cache
    assert cache.peak_bytes == 131072 * 32768
    assert cache.physical_bytes < cache.peak_bytes / 20
    assert "until its last chunk is prefilled" in cache.why


def test_what_a_scheme_adds_is_fused_or_a_kernel_of_its_own() -> None:
    fused = explain("llama-3.1-8b", on="h100", scheme="kivi:bits=2").fusion
    assert [(entry.operator, entry.fused) for entry in fused] == [("decode attention (full)", True)]
    apart = explain("llama-3.1-8b", on="h100", scheme="quest:budget=1024", context=32768).fusion
    assert ("choose pages", False) in [(entry.operator, entry.fused) for entry in apart]
    assert explain("llama-3.1-8b", on="h100").fusion == ()


def test_a_shared_tree_lies_on_the_device_once() -> None:
    """One search of 16 leaves at 8,192 tokens: a prompt of 8192 - 4 * 256 = 7,168 tokens and levels of 16, 4, 1 and 1
    nodes of 256 make 12,800 tokens, at 128 KiB each 1.5625 GiB: a whole number of blocks, so what the scheme keeps is
    what the device holds."""
    cache = explain("llama-3.1-8b", on="h100", scheme="ets", batch=16, context=8192).cache
    assert cache.logical_bytes == 12_800 * 131_072
    assert cache.physical_bytes == pytest.approx(12_800 * 131_072, rel=1e-12)
