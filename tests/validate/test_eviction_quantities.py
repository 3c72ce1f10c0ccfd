"""Quantities of papers on evictions and visual models, held against sums by hand and against each other."""

from __future__ import annotations

import pytest

from kvwall.simulator.reserve import rank_shape
from kvwall.validate.quantities.evictions_offloaded import evicted_flexgen_tokens_per_s, waiting_decode_s
from kvwall.validate.quantities.offloading import flexgen_coded_tokens_per_s
from kvwall.validate.quantities.selection import continuous_tokens_per_s, generation_linear_flops
from kvwall.validate.quantities.time import decode_s, offline_tokens_per_s
from kvwall.validate.quantities.visual import image_attention_flops
from kvwall.validate.quantities.whole_prompts import longest_eager_prompt, longest_flash_prompt
from kvwall.validate.reproducing.point import point_of

OPT = {"model": "opt-30b", "on": "gcp-t4", "engine": "none", "weights": "fp16", "input": 512, "output": 32}
LLAMA = {"model": "llama-2-7b", "on": "a100-sxm4-80gb", "engine": "hf", "weights": "fp16"}


def test_attention_of_an_image() -> None:
    """``sum of m_i M_i`` over the 13 scales is 68,484,681, each 4 x 40 layers x 3,584 FLOP, twice under guidance."""
    found = image_attention_flops(point_of({"model": "infinity-8b", "on": "h100", "engine": "none", "batch": 1}))
    assert found == 2 * 4 * 40 * 3584 * 68_484_681


def test_nothing_evicted_is_flexgen_itself() -> None:
    """Prompt and half of the answer are attended to, as FlexGen's own equations have it."""
    flexgen = {**OPT, "batch": 144, "scheme": "flexgen:wg=20,wc=80,cg=0,hg=0,attend=host,blocks=3"}
    assert evicted_flexgen_tokens_per_s(point_of(flexgen)) == pytest.approx(
        flexgen_coded_tokens_per_s(point_of(flexgen)), rel=1e-12
    )
    evicting = {**flexgen, "scheme": f"h2o+{flexgen['scheme']}"}
    assert evicted_flexgen_tokens_per_s(point_of(evicting)) > flexgen_coded_tokens_per_s(point_of(flexgen))


def test_waits_of_every_half_layer() -> None:
    """32 steps of 2 x 48 half layers of 60 us."""
    point = point_of({**OPT, "on": "a100-sxm4-80gb", "batch": 1})
    assert waiting_decode_s(point) - decode_s(point) == pytest.approx(32 * 96 * 60e-6)


def test_the_longest_whole_prompt_fills_the_device() -> None:
    """Without a scheme: cache of every token, and the larger of one layer's rows and the logits."""
    point = point_of({**LLAMA, "batch": 2})
    shape, weights = rank_shape(point.setup.model, 1), point.capacity.weights.mid
    free = point.setup.memory_bytes - weights - point.setup.engine.reserve.context_bytes.mid
    layer, logits = 2.0 * (shape.widest_layer + 3 * 4096), 6.0 * 32000
    expected = free / 2 / (524_288 + max(layer, logits))
    assert longest_flash_prompt(point) == pytest.approx(expected, abs=1.5)
    eager = longest_eager_prompt(point)
    assert 2 * eager * 524_288 + 2 * eager * layer + 2 * 2 * 32 * eager**2 == pytest.approx(free, rel=1e-3)


def test_a_stated_batch_is_not_changed_by_continuous_batching() -> None:
    stated = {**LLAMA, "engine": "vllm", "input": 1000, "output": 1000, "batch": 4}
    assert continuous_tokens_per_s(point_of(stated)) == offline_tokens_per_s(point_of(stated))
    fitting = point_of({**stated, "batch": "max"})
    assert continuous_tokens_per_s(fitting) > offline_tokens_per_s(fitting)


def test_linear_flop_of_an_answer() -> None:
    """Two for each of 6,738,415,616 parameters and 10 tokens."""
    assert generation_linear_flops(point_of({**LLAMA, "input": 1, "output": 10})) == 2 * 6_738_415_616 * 10
