"""Attention by plain products over a static cache: what a step and a prompt pay beside a fused kernel, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, Estimate, estimate


def _static(setup_of: Any, axes: Axes, longest: int | None = None, **words: Any) -> Estimate:
    setup = setup_of(words.pop("model", "llama-3.1-8b"), engine="gpt-fast", **words)
    return estimate(replace(setup, max_model_len=longest), axes)


def _amounts(found: Estimate) -> dict[str, float]:
    made: dict[str, float] = {}
    for line in found.lines:
        made[line.term.name] = made.get(line.term.name, 0.0) + float(line.term.amount) * float(line.ranks)
    return made


def test_a_step_reads_the_whole_cache_and_the_last_level_cache_once_per_query_head(setup_of: Any) -> None:
    """3 sequences, 1,000 of 1,536 tokens filled: keys of a layer are 1,024 elements of 2 bytes a token, and 4 query
    heads share each of the 8 key heads. 536 tokens are read in vain, and all 1,536 four times from the L2."""
    found = _amounts(_static(setup_of, Axes(3, 1000), 1536))
    token = 32 * 1024 * 2
    assert found["read key"] == 3 * 1000 * token
    assert found["read unfilled key"] == 3 * 536 * token
    assert found["read key for every query head"] == found["read value for every query head"] == 3 * 1536 * 4 * token
    assert found["multiply in fp32"] == 2 * 32 * 32 * 256 * 3 * 1536


def test_a_prompt_moves_its_scores_and_repeated_keys_in_fp32(setup_of: Any) -> None:
    """Scores of 2 x 32 heads x 512 x 1,024: written, read, written masked and normal, read; keys of 32 heads twice."""
    found = _amounts(_static(setup_of, Axes(2, 512, "prefill"), 1024))
    assert found["move scores"] == 32 * 32 * 2 * 512 * 1024 * 16
    assert found["repeat key"] == 32 * 4096 * 2 * 1024 * 8


def test_what_is_not_filled_costs_time_and_is_no_part_of_the_bound(setup_of: Any) -> None:
    short, long = (_static(setup_of, Axes(8, 1000), longest) for longest in (None, 8000))
    assert long.ideal_s == short.ideal_s
    assert long.step_s.mid > short.step_s.mid
    assert np.all(short.step_s.low >= short.ideal_s)
    charged = sum(float(line.charged_s) for line in long.lines)
    assert charged == pytest.approx(float(long.step_s.mid), rel=1e-12)


def _head(found: Estimate, name: str) -> float:
    lines = [line for line in found.lines if line.operator == "LM head" and line.term.name == name]
    return sum(float(line.term.amount) * float(line.ranks) for line in lines)


def test_a_cache_that_is_not_plain_keeps_its_kernel(setup_of: Any) -> None:
    found = _amounts(_static(setup_of, Axes(2, 1000), 4000, scheme="kivi:bits=2"))
    assert not any("every query head" in name for name in found)


def test_ranks_share_the_heads_but_not_the_vocabulary(setup_of: Any) -> None:
    """128,256 x 4,096 weights of 2 bytes on every one of four ranks, embedding and head alike."""
    one, four = (_static(setup_of, Axes(2, 1000), 1536, on=f"h100:{n}", split={"tp": n}) for n in (1, 4))
    name = "read key for every query head"
    assert _amounts(four)[name] == _amounts(one)[name]
    head = 128_256 * 4096 * 2
    assert _head(four, "read weights") == 4 * _head(one, "read weights")
    assert _head(one, "read weights") == head
    held = [Capacity(found.setup, 1000).weights_arithmetic_bytes for found in (one, four)]
    assert held[1] > held[0] / 4 + 1.5 * head


def test_a_prompt_gets_logits_of_every_token(setup_of: Any) -> None:
    prompt = _static(setup_of, Axes(2, 512, "prefill"))
    assert _head(prompt, "multiply") == 2 * 128_256 * 4096 * 2 * 512
