"""Eager attention: the bytes of its scores by hand, the masked half of its products, and who is spared them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kvwall.simulator.estimate import Axes, Estimate, estimate


def _eager(setup_of: Any, axes: Axes, scheme: str = "none", **words: Any) -> Estimate:
    setup = setup_of("llama-2-7b", scheme, engine="hf", **words)
    return estimate(replace(setup, engine=setup.engine.model_copy(update={"attention": "eager"})), axes)


def _amount(found: Estimate, name: str) -> float:
    return sum(float(line.term.amount) * float(line.ranks) for line in found.lines if line.term.name == name)


def test_a_prompt_moves_its_whole_square_six_times(setup_of: Any) -> None:
    """32 layers x 32 heads x 2 sequences x 1,024 x 1,024 scores of 4 bytes, three times written and read."""
    found = _eager(setup_of, Axes(2, 1024, "prefill"))
    assert _amount(found, "move scores") == 32 * 32 * 2 * 1024**2 * 4 * 6
    # A fused kernel multiplies 1,024 x 1,025 / 2 pairs; the others are masked afterwards.
    masked = 1024**2 - 1024 * 1025 / 2
    assert _amount(found, "multiply the masked half") == 2 * 32 * 32 * (128 + 128) * 2 * masked


def test_fp32_keys_make_fp32_scores(setup_of: Any) -> None:
    """A rotary embedding in fp32 leaves keys wide: 44 bytes of each of 32 layers x 32 heads x 4 x 1,000 scores."""
    setup = setup_of("llama-2-7b", engine="hf")
    wide = setup.model.attention[0].model_copy(update={"fp32_keys": True})
    eager = replace(
        setup,
        architecture=setup.model.model_copy(update={"attention": (wide,)}),
        engine=setup.engine.model_copy(update={"attention": "eager"}),
    )
    assert _amount(estimate(eager, Axes(4, 1000)), "move scores") == 32 * 32 * 4 * 1000 * 44


def test_an_engine_without_graphs_waits_for_its_host(setup_of: Any) -> None:
    """32 layers of 300 us each, whatever a small step has to do."""
    found = estimate(setup_of("llama-3.1-8b", engine="hf"), Axes(1, 100))
    assert float(found.step_s.mid) == pytest.approx(32 * 300e-6, rel=1e-9)
    large = estimate(setup_of("llama-3.1-8b", engine="hf"), Axes(64, 16384))
    assert "wait for launches" not in {line.term.name for line in large.lines if float(line.charged_s) > 0}


def test_a_step_moves_one_row_of_scores(setup_of: Any) -> None:
    found = _eager(setup_of, Axes(4, 1000))
    assert _amount(found, "move scores") == 32 * 32 * 4 * 1000 * 4 * 6
    assert _amount(found, "multiply the masked half") == 0


def test_it_is_no_part_of_the_bound_and_costs_time(setup_of: Any) -> None:
    axes = Axes(2, 2048, "prefill")
    fused, eager = estimate(setup_of("llama-2-7b", engine="hf"), axes), _eager(setup_of, axes)
    assert eager.ideal_s == fused.ideal_s
    assert eager.step_s.mid > fused.step_s.mid
    assert eager.kv_read_bytes == fused.kv_read_bytes
    charged = sum(float(line.charged_s) for line in eager.lines)
    assert charged == pytest.approx(float(eager.step_s.mid), rel=1e-12)


def test_layers_that_see_blocks_have_the_scores_of_blocks(setup_of: Any) -> None:
    """Half of the layers see 1,024 / 4 positions, the other half the last block of 4 and 2 before it."""
    found = _eager(setup_of, Axes(1, 1024, "prefill"), "block_transformer")
    assert _amount(found, "move scores") == 16 * 32 * (256**2 + 6**2) * 4 * 6


def test_what_the_host_attends_to_has_no_scores_on_the_device(setup_of: Any) -> None:
    assert _amount(_eager(setup_of, Axes(4, 1000), "offload:attend=host"), "move scores") == 0


def test_ranks_share_the_heads(setup_of: Any) -> None:
    whole, split = (_eager(setup_of, Axes(4, 1000), on=f"h100:{n}", split={"tp": n}) for n in (1, 4))
    assert _amount(split, "move scores") == _amount(whole, "move scores")
