"""Equivalent FLOP by hand: a model of 10 parameters, 6 query channels and 2 KV channels."""

from __future__ import annotations

import numpy as np
import pytest

from kvwall.simulator.eflops import INTENSITY, Widths, attended_tokens, block_topk, dense, sparse, widths
from kvwall.workloads.model_lookup import find_model

TINY = Widths(10.0, 6.0, 2.0)


def test_widths_of_a_model() -> None:
    """28 layers of 16 query and 8 KV heads of 128 channels."""
    found = widths(find_model("qwen3-0.6b")[1])
    assert (found.queries, found.keys) == (28 * 16 * 128, 28 * 8 * 128)
    assert found.parameters == pytest.approx(0.6e9, rel=0.3)


def test_dense() -> None:
    """3 tokens after 4 see 4.5, 5.5 and 6.5 tokens on the mean of each step: (2 x 4 + 3) x 3 / 2 = 16.5 in all."""
    found = dense(TINY, 4.0, 3.0)
    assert found.compute == 2 * 10 * 3 + 4 * 6 * 16.5
    assert found.memory == INTENSITY * 4 * 2 * 16.5
    assert found.total == found.compute + found.memory


def test_trials_read_one_prompt_together() -> None:
    """Two answers compute twice, but of the 2 x 16.5 tokens 4 x 3 of the prompt are read once: 21 remain."""
    found = dense(TINY, 4.0, 3.0, trials=2.0)
    assert found.compute == 2 * dense(TINY, 4.0, 3.0).compute
    assert found.memory == INTENSITY * 4 * 2 * (12 + 2 * 4.5)


def test_tokens_within_a_budget() -> None:
    """A budget of 6 after 4 is missed by 2 x 2 / 2 tokens; one of 4 never."""
    np.testing.assert_allclose(attended_tokens(4.0, 30.0, np.array([4.0, 6.0])), [120.0, 178.0])


def test_sparse_attention_reads_its_budget() -> None:
    found = sparse(TINY, 40.0, 3.0, 8.0)
    assert found.compute == 2 * 10 * 3 + 4 * 6 * 24
    assert found.memory == INTENSITY * 4 * 2 * 24


def test_blocks_are_found_by_their_mean_keys() -> None:
    """83 / 16 = 5.19 is 5 mean keys: 5 x 3 x 6 FLOP and 5 x 3 x 2 elements above those of a budget of 8 + 2 x 16."""
    found = block_topk(TINY, 40.0, 3.0, local=8.0, page=16.0, blocks=2.0)
    free = sparse(TINY, 40.0, 3.0, 40.0)
    assert found.compute - free.compute == 5 * 3 * 6
    assert found.memory - free.memory == INTENSITY * 5 * 3 * 2


def test_a_budget_beyond_the_context_is_dense() -> None:
    """At the edge, b = c + g, both count the same tokens: (c + g) g - g^2 / 2 = c g + g^2 / 2."""
    assert sparse(TINY, 4.0, 3.0, 7.0).total == dense(TINY, 4.0, 3.0).total
