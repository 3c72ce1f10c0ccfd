"""The closed loop: hand-derived cases, limits, and public serving figures."""

from __future__ import annotations

import numpy as np
import pytest

from kvwall.hardware.serving_constants import Queue
from kvwall.simulator.answers.plan import plan
from kvwall.simulator.planning.load import Load
from kvwall.simulator.planning.service import Kernels, serve


def queue(own=1.0, others=0.0, steps=0.0, after=1.0, slot=0.0):
    return Queue(
        own=own, others=others, steps=steps, slot=slot, after=after, tpot_spread=1, ttft_spread=1, source="a test"
    )


PLAIN = queue()


def load(users=None, think_s=0.0, outputs=(100.0,), inputs=(1000.0,), shares=(1.0,), prefixes=None):
    prefix = np.zeros(len(shares)) if prefixes is None else np.asarray(prefixes)
    return Load(np.asarray(shares), np.asarray(inputs), np.asarray(outputs), prefix, users, think_s)


def kernels(step_s=0.01, prefill_s=0.2, added_s=0.1, occupied_s=0.1, points=1):
    return Kernels(np.full(points, step_s), prefill_s, np.full(points, added_s), np.full(points, occupied_s))


def at(n, **asked):
    waits = asked.pop("waits", PLAIN)
    times = asked.pop("times", kernels())
    emitted = asked.pop("tokens_per_step", 1.0)
    return serve(times, np.array([n]), np.array([n]), load(**asked), waits, emitted)


def test_tpot_is_the_step_and_the_prefills_of_those_who_decode():
    # A request decodes for 100 x s and prefills for w = 0.1 + 0.01 s: 100 x^2 + (0.11 - 1 - 20 x 0.1) x - 0.01 x 0.11
    # = 0, x = (2.89 + sqrt(2.89^2 + 0.44)) / 200 = 29.275 ms: 10 ms, and 20 ms of which 96.4 % decode beside it.
    assert at(20.0).tpot_s[0] == pytest.approx((2.89 + np.sqrt(2.89**2 + 0.44)) / 200)
    assert at(20.0).tpot_s[0] == pytest.approx(0.01 + 0.02 * 2.9275 / (2.9275 + 0.11), rel=1e-3)


def test_nothing_is_added_where_prefills_cost_nothing():
    free = kernels(prefill_s=0.0, added_s=0.0, occupied_s=0.0)
    assert at(20.0, times=free).tpot_s[0] == pytest.approx(0.01)


def test_a_draft_divides_the_step_alone():
    # Without prefills two tokens a step halve the time per token.
    free = kernels(prefill_s=0.0, added_s=0.0, occupied_s=0.0)
    assert at(20.0, times=free, tokens_per_step=2.0).tpot_s[0] == pytest.approx(0.005)
    # What prefills add is not halved: 100 x^2 + (0.11 - 0.5 - 2) x - 0.005 x 0.11 = 0.
    assert at(20.0, tokens_per_step=2.0).tpot_s[0] == pytest.approx((2.39 + np.sqrt(2.39**2 + 0.22)) / 200)


def test_ttft_is_never_below_the_own_prefill():
    assert at(1.0).ttft_s[0] == pytest.approx(0.2)
    # 2 x 0.1 + 0.1 x 20 x 0.1 + 3 x 0.01 = 0.43 s.
    assert at(20.0, waits=queue(own=2.0, others=0.1, steps=3.0)).ttft_s[0] == pytest.approx(0.43)


def test_a_request_may_wait_for_its_slot():
    # Twenty answers of 100 tokens at 10 ms: one ends every 50 ms, and a request waits for half of that.
    free = kernels(prefill_s=0.0, added_s=0.0, occupied_s=0.0)
    assert at(20.0, times=free, waits=queue(slot=0.5)).ttft_s[0] == pytest.approx(0.025)


def test_users_beyond_the_batch_wait_for_whole_rounds():
    # One answer takes 0.2 s, then 100 tokens of 10 ms (prefills are free here) = 1.2 s; 60 users on 20 places wait two
    # rounds.
    found = at(20.0, users=60, times=kernels(added_s=0.0, occupied_s=0.0))
    assert found.wait_s[0] == pytest.approx(2 * 1.2)
    assert found.ttft_s[0] == pytest.approx(0.2 + 2.4)
    # The machine is as busy as with 20 users: 20 x 100 / 1.2.
    assert found.tokens_per_s[0] == pytest.approx(2000 / 1.2)


def test_nobody_waits_where_the_places_are_as_many_as_the_users():
    for users in range(1, 300):
        found = at(float(users), users=users, inputs=(8192.0,), outputs=(500.0,))
        assert found.wait_s[0] == 0.0


def test_users_who_think_leave_places_free():
    # 1.2 s of answer and 1.2 s of thought: 20 places serve 40 users without a wait.
    found = at(20.0, users=40, think_s=1.2, times=kernels(added_s=0.0, occupied_s=0.0))
    assert found.users[0] == pytest.approx(40.0)
    assert found.wait_s[0] == 0.0
    assert found.tokens_per_s[0] == pytest.approx(2000 / 1.2)


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
