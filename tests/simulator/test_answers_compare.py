"""Compare: rows are steps, ratios are against the first scheme, refusals are rows of their own."""

from __future__ import annotations

import pytest

from kvwall.hardware.errors import InputError, UnknownNameError
from kvwall.simulator.answers.compare import CompareRow, RefusedRow, compare
from kvwall.simulator.answers.fit import fit
from kvwall.simulator.answers.step import step

STACKS = ["none", "fp8", "kivi:bits=2", "snapkv:budget=1024", "quest:budget=1024", "offload:to=host"]


def test_rows_are_steps_with_their_capacity() -> None:
    answer = compare("llama-3.1-8b", on="h100", schemes=STACKS, batch=[4], context=[32768], terms=True)
    assert [row.scheme for row in answer.rows] == STACKS
    for row in answer.rows:
        assert isinstance(row, CompareRow)
        alone = step("llama-3.1-8b", on="h100", scheme=row.scheme, batch=[4], context=[32768]).points[0]
        assert alone.model_dump() == {key: row.model_dump()[key] for key in alone.model_dump()}
        room = fit("llama-3.1-8b", on="h100", scheme=row.scheme, context=32768)
        assert (row.kv_tokens, row.max_concurrency) == (room.kv_tokens, room.max_concurrency)


def test_the_ratio_is_how_many_times_faster_than_the_first_at_the_same_point() -> None:
    answer = compare("llama-3.1-8b", on="h100", schemes=["fp8", "none"], batch=[1, 32], context=[1024, 65536])
    rows = [row for row in answer.rows if isinstance(row, CompareRow)]
    first = {(row.batch, row.context): row.step_s.mid for row in rows[:4]}
    for row in rows:
        assert row.ratio_to_first == first[row.batch, row.context] / row.step_s.mid
    assert [row.ratio_to_first for row in rows[:4]] == [1.0] * 4
    assert rows[-1].ratio_to_first < 0.7  # 32 sequences of 64k tokens: the cache is nearly all of the step


def test_a_forbidden_scheme_is_a_row_that_says_why() -> None:
    answer = compare("deepseek-v3", on="h200:8", schemes=["none", "kivi:bits=2", "fp8"])
    assert [type(row) for row in answer.rows] == [CompareRow, RefusedRow, CompareRow]
    refused = answer.rows[1]
    assert refused.scheme == "kivi:bits=2"
    assert refused.refused == (
        "scheme 'kivi' does not apply to DeepSeek-V3: its latents have no per-head channels to group"
    )


def test_when_the_first_is_refused_the_next_is_the_measure() -> None:
    rows = compare("deepseek-v3", on="h200:8", schemes=["kivi", "none"]).rows
    assert isinstance(rows[1], CompareRow)
    assert rows[1].ratio_to_first == 1.0


def test_published_quality_comes_with_its_scheme() -> None:
    rows = compare("llama-3.1-8b", on="h100", schemes=["none", "kivi:bits=2"]).rows
    dense, packed = (row for row in rows if isinstance(row, CompareRow))
    assert dense.quality == ()
    assert packed.quality
    assert {entry.scheme for entry in packed.quality} == {"kivi"}
    assert all(entry.source for entry in packed.quality)


def test_auto_is_settled_for_each_scheme() -> None:
    rows = compare("llama-3.1-8b", on="h100", schemes=["none", "offload:fraction=auto"], batch=[2]).rows
    # Everything fits on the device, so nothing is moved.
    assert rows[1].scheme == "offload:fraction=0"
    assert isinstance(rows[0], CompareRow)
    assert isinstance(rows[1], CompareRow)
    assert rows[1].step_s == rows[0].step_s


def test_what_cannot_be_compared() -> None:
    with pytest.raises(InputError, match=r"^--schemes: is empty"):
        compare("llama-3.1-8b", on="h100", schemes=[])
    with pytest.raises(UnknownNameError, match=r"^unknown scheme 'kivvi'; did you mean 'kivi'\?$"):
        compare("llama-3.1-8b", on="h100", schemes=["none", "kivvi"])
    with pytest.raises(InputError, match="are too many for a table"):
        compare("llama-3.1-8b", on="h100", schemes=["none"] * 101, batch=range(1, 101))
