"""Ragged batches: equal lengths are a uniform batch, windows saturate, and order does not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.step import StepPoint, answer_ragged, step
from kvwall.simulator.inquiry import Inquiry, resolve
from kvwall.simulator.ragged import Ragged, ragged_axes


def ragged(model: str, lengths: Ragged, **options: Any) -> StepPoint:
    return answer_ragged(resolve(Inquiry(model, "h100", **options)), lengths).points[0]


def uniform(model: str, batch: int, context: int, **options: Any) -> StepPoint:
    return step(model, on="h100", batch=[batch], context=[context], **options).points[0]


FIGURES = (
    "weights_read_bytes", "kv_stored_bytes", "kv_read_bytes", "kv_written_bytes", "host_link_bytes", "ideal_step_s",
    "joules_per_token",
)  # fmt: skip


@pytest.mark.parametrize("scheme", ["none", "kivi:bits=2", "snapkv:budget=512", "quest:budget=512", "offload:to=host"])
@pytest.mark.parametrize("model", ["llama-3.1-8b", "gemma-3-12b"])
def test_equal_lengths_are_a_uniform_batch(model: str, scheme: str) -> None:
    one = ragged(model, ((8192, 6),), scheme=scheme)
    split = ragged(model, ((8192, 2), (8192, 4)), scheme=scheme)
    even = uniform(model, 6, 8192, scheme=scheme)
    for point in (one, split):
        for figure in FIGURES:
            assert getattr(point, figure) == pytest.approx(getattr(even, figure), rel=1e-9), figure
        assert point.step_s.mid == pytest.approx(even.step_s.mid, rel=1e-9)
        assert (point.batch, point.context, point.fits) == (even.batch, even.context, even.fits)


def test_a_full_cache_costs_what_its_tokens_cost() -> None:
    point = ragged("llama-3.1-8b", ((8192, 30), (131072, 2)))
    tokens = 30 * 8192 + 2 * 131072
    assert point.kv_stored_bytes == pytest.approx(131072 * tokens)
    assert point.kv_read_bytes == pytest.approx(131072 * tokens)
    assert (point.batch, point.context) == (32, tokens / 32)


def test_windows_saturate_sequence_by_sequence() -> None:
    # Gemma-3-12B: 40 layers keep 1024 tokens. A mean of 1024 is 512 tokens in them for one sequence, 1024 for another.
    layer_bytes = 2 * 8 * 256 * 2
    point = ragged("gemma-3-12b", ((512, 1), (1536, 1)))
    assert point.kv_stored_bytes == pytest.approx(layer_bytes * (8 * 2048 + 40 * (512 + 1024)))
    even = uniform("gemma-3-12b", 2, 1024)
    assert even.kv_stored_bytes == pytest.approx(layer_bytes * (8 * 2048 + 40 * 2048))


def test_the_order_of_the_lengths_does_not_matter() -> None:
    there = ragged("llama-3.1-8b", ((100, 3), (5000, 1)), scheme="kivi:bits=2")
    back = ragged("llama-3.1-8b", ((5000, 1), (100, 3)), scheme="kivi:bits=2")
    assert there.step_s.mid == pytest.approx(back.step_s.mid, rel=1e-12)


def test_fits_counts_every_sequence_in_its_own_blocks() -> None:
    # 1000 tokens are 63 blocks of 16: 1008 tokens of memory each.
    pool = 131072 * 1008 * 10 / 2**30
    assert ragged("llama-3.1-8b", ((1000, 10),), kv_gib=pool * 1.02).fits
    assert not ragged("llama-3.1-8b", ((1000, 10), (16, 30)), kv_gib=pool * 1.02).fits


def test_the_axes_are_the_lengths_and_their_parts() -> None:
    count, contexts, parts = ragged_axes(((8, 30), (128, 10)))
    assert count == 40
    np.testing.assert_array_equal(contexts, [8.0, 128.0])
    np.testing.assert_array_equal(parts, [0.75, 0.25])
    with pytest.raises(InputError, match=r"^--contexts: names no sequence"):
        ragged_axes(())
