"""Quantities of weight formats by hand."""

from __future__ import annotations

import pytest

from kvwall.validate.reproducing.point import point_of, quantity_of

WORDS = {"model": "llama-2-7b", "on": "a100", "engine": "none", "batch": 1, "context": 128}


def test_bits_of_one_weight() -> None:
    """NF4 with double quantisation: 4 + 8 / 64 + 32 / (64 x 256)."""
    assert quantity_of("weight_bits")(point_of(WORDS, {"weights": "nf4"})) == pytest.approx(4.126953125)


def test_products_leave_out_attention_and_the_head() -> None:
    """6,476,005,376 weights of two bytes take at least 6.4 ms at 2.039 TB/s, and the step has more to do."""
    point = point_of(WORDS, {"weights": "fp16"})
    seconds = quantity_of("products_s")(point)
    assert 2 * 6_476_005_376 / 2.039e12 < seconds < quantity_of("step_s")(point)


def test_fewer_bytes_are_faster_products() -> None:
    dense, sparse = (quantity_of("products_s")(point_of(WORDS, {"weights": name})) for name in ("fp16", "flash-llm-80"))
    assert sparse < dense
