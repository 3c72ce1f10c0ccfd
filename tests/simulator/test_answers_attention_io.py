"""The I/O part of explain: the same bytes as the bill, and what does not fit is told."""

from __future__ import annotations

import pytest

from kvwall.simulator.answers.explain import explain


def test_the_compulsory_cache_is_what_the_bill_reads() -> None:
    told = explain("llama-3.1-8b", on="h100", scheme="kivi:bits=2", batch=8, context=32768)
    read = sum(term.amount for term in told.terms if term.name.startswith("read ") and "attention (" in term.operator)
    ends = 32 * 8 * 32 * 256 * 2
    hbm, units = told.io.levels
    assert (hbm.level, units.level) == ("HBM -> chip", "L2 -> SM")
    assert hbm.compulsory_bytes == pytest.approx(read + ends)
    assert hbm.bound_bytes == hbm.compulsory_bytes <= hbm.moved_bytes
    assert told.io.fusion[0].fused
    assert told.io.fusion[0].why.startswith("convert keys, convert values inside the kernel; 16 x ")


def test_a_pipeline_counts_every_microbatch_once() -> None:
    whole = explain("llama-3.1-70b", on="h100:8", tp=8, batch=32).io.levels[0]
    staged = explain("llama-3.1-70b", on="h100:16", nodes=2, tp=8, pp=2, batch=32).io.levels[0]
    assert staged.compulsory_bytes == pytest.approx(whole.compulsory_bytes)


def test_a_rebuild_that_does_not_fit_is_told_with_its_price() -> None:
    told = explain("llama-3.1-8b", on="rtx-4090", scheme="palu", context=32768)
    kernel = next(fusion for fusion in told.fusion if "attention" in fusion.operator)
    assert not kernel.fused
    assert "priced as if fused, but rebuild keys does not fit: smallest 16 x 16 tile: 104 KiB of 99 KiB" in kernel.why
    assert told.io.levels[0].ratio == pytest.approx(3, rel=0.02)


def test_every_kind_of_layer_has_its_rows() -> None:
    told = explain("llama-3.1-8b", on="h100", scheme="quest:budget=1024", context=32768)
    assert [(row.layers, row.level) for row in told.io.levels] == [
        (2, "HBM -> chip"), (2, "L2 -> SM"), (30, "HBM -> chip"), (30, "L2 -> SM")
    ]  # fmt: skip
    dense, sparse = told.io.levels[0], told.io.levels[2]
    assert sparse.compulsory_bytes / 30 == pytest.approx(dense.compulsory_bytes / 2 / 32, rel=0.01)
