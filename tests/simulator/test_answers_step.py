"""Step: points, dollars, tokens and terms against their definitions."""

from __future__ import annotations

import math

import pytest

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.fit import fit
from kvwall.simulator.answers.step import step


def test_points_come_in_the_order_of_batch_and_context() -> None:
    answer = step("llama-3.1-8b", on="h100", batch=[1, 8], context=[1024, 8192, 32768])
    assert [(p.batch, p.context) for p in answer.points] == [
        (batch, context) for batch in (1, 8) for context in (1024, 8192, 32768)
    ]


def test_a_point_of_a_table_is_the_point_by_itself() -> None:
    table = step("mixtral-8x7b", on="h100:4", batch=[1, 7, 64], context=[1000, 8192]).points
    for point in table:
        assert step("mixtral-8x7b", on="h100:4", batch=[point.batch], context=[point.context]).points == (point,)


def test_bytes_by_hand() -> None:
    point = step("llama-3.1-8b", on="h100", batch=[4], context=[8192]).points[0]
    # 131072 bytes a token, stored once and read once; one token of each sequence is written.
    assert point.kv_stored_bytes == 4 * 8192 * 131072
    assert point.kv_read_bytes == 4 * 8192 * 131072
    assert point.kv_written_bytes == 4 * 131072
    # All weights but the embedding, of which one row a sequence is read.
    embedding = 128256 * 4096
    assert point.weights_read_bytes == pytest.approx(2 * (8_030_261_248 - embedding), rel=1e-3)
    assert point.host_link_bytes == 0


def test_offloaded_tokens_cross_the_host_link() -> None:
    point = step("llama-3.1-8b", on="h100", batch=[4], context=[8192], scheme="offload:to=host").points[0]
    assert point.host_link_bytes == pytest.approx(4 * 8192 * 131072, rel=1e-3)
    assert point.bound_by == "host link in"


def test_rates_follow_from_the_seconds() -> None:
    answer = step("llama-3.1-70b", on="h100:8", batch=[32], context=[8192], price_usd_per_gpu_hour=2.5, utilization=0.5)
    point = answer.points[0]
    assert point.tokens_per_s.mid == pytest.approx(32 / point.step_s.mid)
    assert point.tokens_per_s.low == pytest.approx(32 / point.step_s.high)
    assert point.tokens_per_s.high == pytest.approx(32 / point.step_s.low)
    # 8 GPUs x 2.5 USD an hour, half of the hours serve.
    dollars = 8 * 2.5 / 3600 * point.step_s.mid / 32 * 1e6 / 0.5
    assert point.usd_per_million_tokens == pytest.approx(dollars)
    assert point.usd_per_million_input_tokens is None


def test_a_prefill_prices_its_prompt() -> None:
    point = step("llama-3.1-8b", on="h100", context=[4096], phase="prefill", price_usd_per_gpu_hour=3.6).points[0]
    assert point.query_tokens == 4096
    assert point.usd_per_million_input_tokens == pytest.approx(3.6 / 3600 * point.step_s.mid / 4096 * 1e6)
    part = step("llama-3.1-8b", on="h100", context=[4096], phase="prefill", query_tokens=1024).points[0]
    assert part.query_tokens == 1024
    assert part.step_s.mid < point.step_s.mid / 2


def test_without_a_price_there_are_no_dollars_but_a_warning() -> None:
    answer = step("llama-3.1-8b", on="gaudi3")
    assert answer.points[0].usd_per_million_tokens is None
    assert answer.warnings == ("no price is known for Intel Gaudi 3 (OAM): give --price-usd-per-gpu-hour",)


@pytest.mark.parametrize("options", [{}, {"scheme": "kivi:bits=2"}, {"on": "h100:8"}, {"phase": "prefill"}])
def test_terms_add_up_in_seconds_and_bytes(options: dict[str, str]) -> None:
    words = {"on": "h100", "scheme": "none", "phase": "decode", **options}
    point = step("llama-3.1-8b", batch=[16], context=[8192], **words).points[0]  # type: ignore[arg-type]
    assert math.fsum(term.charged_s for term in point.terms) == pytest.approx(point.step_s.mid, rel=1e-9)
    hbm = math.fsum(term.amount for term in point.terms if term.resource == "hbm")
    assert hbm >= point.weights_read_bytes + point.kv_read_bytes + point.kv_written_bytes
    assert {term.unit for term in point.terms} <= {"bytes", "FLOP", "s", "messages"}


def test_terms_can_be_left_out() -> None:
    bare = step("llama-3.1-8b", on="h100", terms=False).points[0]
    full = step("llama-3.1-8b", on="h100").points[0]
    assert bare.terms == ()
    assert full.model_copy(update={"terms": ()}) == bare


def test_fits_is_what_fit_says() -> None:
    answer = step("llama-3.1-8b", on="h100", batch=[1, 3, 4], context=[131072])
    told = [fit("llama-3.1-8b", on="h100", context=131072, users=users).fits for users in (1, 3, 4)]
    assert [point.fits for point in answer.points] == told == [True, True, False]


def test_each_role_has_its_own_pool() -> None:
    pools = "prefill=h100:8,decode=h20:4"
    assert step("llama-3.1-8b", on=pools).gpus == 4
    prefill = step("llama-3.1-8b", on=pools, phase="prefill")
    assert (prefill.gpus, prefill.device) == (8, "h100-sxm5-80gb")


def test_tables_that_nobody_reads_and_queries_longer_than_the_prompt_are_refused() -> None:
    with pytest.raises(InputError, match=r"^--batch x --context: 10201 points are too many for a table"):
        step("llama-3.1-8b", on="h100", batch=range(1, 102), context=range(1, 102))
    with pytest.raises(InputError, match=r"^--query-tokens 2000: exceeds the context 1000 that includes them$"):
        step("llama-3.1-8b", on="h100", context=[1000], phase="prefill", query_tokens=2000)
