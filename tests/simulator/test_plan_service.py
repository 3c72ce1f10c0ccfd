"""The closed loop: hand-derived cases, limits, and public serving figures."""

from __future__ import annotations

import numpy as np
import pytest

from kvwall.simulator.answers.plan import plan
from kvwall.simulator.planning.load import Load
from kvwall.simulator.planning.service import Kernels, Protocol, serve

PLAIN = Protocol(own=1.0, others=0.0, steps=0.0, after=1.0)


def load(users=None, think_s=0.0, outputs=(100.0,), inputs=(1000.0,), shares=(1.0,), prefixes=None):
    prefix = np.zeros(len(shares)) if prefixes is None else np.asarray(prefixes)
    return Load(np.asarray(shares), np.asarray(inputs), np.asarray(outputs), prefix, users, think_s)


def kernels(step_s=0.01, prefill_s=0.2, added_s=0.1, occupied_s=0.1, points=1):
    return Kernels(np.full(points, step_s), prefill_s, added_s, occupied_s)


def at(n, **asked):
    protocol = asked.pop("protocol", PLAIN)
    emitted = asked.pop("tokens_per_step", 1.0)
    return serve(kernels(), np.array([n]), np.array([n]), load(**asked), protocol, emitted)


def test_tpot_is_the_step_and_one_prefill_of_every_request_per_answer():
    # 10 ms, and 20 requests that each prefill 0.1 s per 100 tokens: 20 x 0.1 / 100 = 20 ms.
    assert at(20.0).tpot_s[0] == pytest.approx(0.030)


def test_a_draft_divides_the_step_alone():
    assert at(20.0, tokens_per_step=2.0).tpot_s[0] == pytest.approx(0.025)


def test_ttft_is_never_below_the_own_prefill():
    assert at(1.0).ttft_s[0] == pytest.approx(0.2)
    busy = Protocol(own=2.0, others=0.1, steps=3.0, after=1.0)
    # 2 x 0.1 + 0.1 x 20 x 0.1 + 3 x 0.01 = 0.43 s.
    assert at(20.0, protocol=busy).ttft_s[0] == pytest.approx(0.43)


def test_users_beyond_the_batch_wait_for_whole_rounds():
    # One answer takes 0.2 + 100 x 0.03 = 3.2 s; 60 users on 20 places wait two rounds.
    found = at(20.0, users=60)
    assert found.wait_s[0] == pytest.approx(2 * 3.2)
    assert found.ttft_s[0] == pytest.approx(0.2 + 6.4)
    # The machine is as busy as with 20 users: 20 x 100 / 3.2.
    assert found.tokens_per_s[0] == pytest.approx(625.0)


def test_nobody_waits_where_the_places_are_as_many_as_the_users():
    for users in range(1, 300):
        found = at(float(users), users=users, inputs=(8192.0,), outputs=(500.0,))
        assert found.wait_s[0] == 0.0


def test_users_who_think_leave_places_free():
    # 3.2 s of answer and 3.2 s of thought: 20 places serve 40 users without a wait.
    found = at(20.0, users=40, think_s=3.2)
    assert found.users[0] == pytest.approx(40.0)
    assert found.wait_s[0] == 0.0
    assert found.tokens_per_s[0] == pytest.approx(625.0)


def test_throughput_never_exceeds_what_prefills_and_steps_allow():
    many = np.geomspace(1, 1e6, 50)
    found = serve(kernels(points=50), many, many, load(), PLAIN)
    assert np.all(np.diff(found.tokens_per_s) > 0)
    # Each answer of 100 tokens costs 0.1 s of prefill, whatever the batch.
    assert found.tokens_per_s[-1] < 100 / 0.1


def test_means_of_a_mix():
    mix = load(shares=(0.7, 0.3), inputs=(1200.0, 16384.0), outputs=(300.0, 500.0), prefixes=(0, 1000))
    assert mix.output_tokens == pytest.approx(0.7 * 300 + 0.3 * 500)
    # 210 of 360 generated tokens are chat: (210 x 1350 + 150 x 16634) / 360.
    assert mix.decode_context_tokens == pytest.approx((210 * 1350 + 150 * 16634) / 360)
    assert mix.decode_generated_tokens == pytest.approx((210 * 150 + 150 * 250) / 360)
    assert mix.complete_context_tokens == np.ceil((210 * 1500 + 150 * 16884) / 360)
    assert mix.peak_context_tokens == 16884
    assert mix.prefix_tokens == 300


#: Closed-loop H100 figures of ai-dynamo/aiconfigurator:
#: model, engine, tp, users, input, output, weights, TPOT ms, TTFT ms.
MEASURED = [
    ("qwen3-32b", "vllm", 2, 32, 1024, 1024, "bf16", 20.06, 237),
    ("qwen3-32b", "vllm", 4, 128, 4096, 128, "bf16", 158.54, 1411),
    ("qwen3-32b", "vllm", 2, 8, 1024, 128, "bf16", 18.04, 154),
    ("llama-3.1-70b", "vllm", 4, 4, 1024, 1024, "fp8", 11.78, 81),
    ("llama-3.1-70b", "vllm", 8, 64, 1024, 8192, "fp8", 16.49, 176),
    ("qwen3-32b", "sglang", 4, 16, 1024, 256, "bf16", 10.14, 528),
    ("qwen3-32b", "sglang", 4, 128, 4096, 256, "bf16", 59.81, 8921),
    ("llama-3.1-8b", "trtllm", 4, 32, 2048, 256, "bf16", 6.79, 121),
    ("qwen3-235b-a22b", "trtllm", 8, 32, 512, 512, "fp8", 18.38, 221),
]


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: "-".join(map(str, row[:4])))
def test_public_serving_figures_lie_in_the_band(row):
    model, engine, tp, users, input_tokens, output_tokens, weights, tpot_ms, ttft_ms = row
    answer = plan(
        model, on=f"h100:{tp}", tp=tp, engine=engine, users=users, input=input_tokens, output=output_tokens,
        schemes="none", weights=weights, batch=(users,),
    )  # fmt: skip
    candidate = next(c for c in answer.candidates if c.ep == 1)
    assert candidate.tpot_s.low * 1e3 <= tpot_ms <= candidate.tpot_s.high * 1e3
    assert candidate.tpot_s.mid * 1e3 == pytest.approx(tpot_ms, rel=0.25)
    assert candidate.ttft_s.low * 1e3 <= ttft_ms <= candidate.ttft_s.high * 1e3
