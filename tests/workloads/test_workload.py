"""Workloads: means by hand, broadcasting, and what a contradiction says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kvwall.hardware.errors import InputError
from kvwall.workloads.workload import RequestClass, Workload

CHAT = RequestClass.of(1200, 300, share=0.7, name="chat")
DOCUMENTS = RequestClass.of(16384, 500, shared_prefix_tokens=1000, share=0.3, name="documents")


def test_means_over_requests():
    work = Workload.of([CHAT, DOCUMENTS], users=64)
    assert work.input_tokens == pytest.approx(0.7 * 1200 + 0.3 * 16384)
    assert work.output_tokens == pytest.approx(0.7 * 300 + 0.3 * 500)
    assert work.shared_prefix_tokens == pytest.approx(300)
    assert work.peak_context_tokens == 16884


def test_long_answers_are_seen_decoding_more_often():
    """210 of 360 decoded tokens are chat's; a chat holds 1200 + 150 tokens on average, a document 16384 + 250."""
    work = Workload.of([CHAT, DOCUMENTS], users=64)
    assert [float(share) for share in work.decode_shares] == pytest.approx([210 / 360, 150 / 360])
    assert work.decode_context_tokens == pytest.approx((210 * 1350 + 150 * 16634) / 360)


def test_one_class_decodes_at_its_prompt_and_half_its_answer():
    assert Workload.of([RequestClass.of(1000, 200)]).decode_context_tokens == 1100


def test_an_array_call_is_its_scalar_calls():
    inputs, users = np.array([[1024], [2048]]), np.array([1, 8, 64])
    work = Workload.of([RequestClass.of(inputs, 100)], users=users)
    cell = Workload.of([RequestClass.of(2048, 100)], users=64)
    in_flight = work.requests_in_flight(1.0) * work.decode_context_tokens
    assert in_flight.shape == (2, 3)
    assert in_flight[1, 2] == cell.requests_in_flight(1.0) * cell.decode_context_tokens


def test_thinking_users_have_fewer_requests_in_flight():
    work = Workload.of([CHAT, DOCUMENTS], users=30, think_time_s=4)
    assert work.requests_in_flight(2.0) == pytest.approx(10)
    assert work.requests_in_flight(0.0) == 0
    assert dataclasses.replace(work, think_time_s=0.0).requests_in_flight(2.0) == 30


def test_arrays_are_frozen():
    with pytest.raises(ValueError, match="read-only"):
        CHAT.input_tokens[...] = 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RequestClass.of(0, 1), "request class 'requests': input 0 is below 1; write for example 8192"),
        (lambda: RequestClass.of(8, 0), "request class 'requests': output 0 is below 1; write for example 8192"),
        (
            lambda: RequestClass.of(8, 1, shared_prefix_tokens=9),
            "request class 'requests': shared_prefix 9 is longer than the input 8",
        ),
        (
            lambda: RequestClass.of([8.5], 1),
            "request class 'requests': input [8.5] is not one or more whole numbers; write for example 8192",
        ),
        (
            lambda: RequestClass.of(8, 1, share=1.5),
            "request class 'requests': share 1.5 is outside 0 to 1; write for example 0.7",
        ),
        (
            lambda: RequestClass.of([1, 2], [1, 2, 3]),
            "request class 'requests': the shapes (), (2,), (3,) do not broadcast",
        ),
        (lambda: Workload.of([CHAT]), "the shares of the mix add up to 0.7, not to 1"),
        (lambda: Workload.of([]), "the workload has no request class; give an input and an output length"),
        (lambda: Workload.of([RequestClass.of(8, 1)], users=0), "users 0 is below 1; write for example 8192"),
        (
            lambda: Workload.of([RequestClass.of(8, 1)], tpot_s=0.0),
            "tpot 0 s is not a time above 0; write for example '50 ms'",
        ),
        (
            lambda: Workload.of([RequestClass.of(8, 1)], think_time_s=float("nan")),
            "think_time nan s is not a time above 0; write for example '50 ms'",
        ),
        (
            lambda: Workload.of([RequestClass.of([8, 9], 1)], users=[1, 2, 3]),
            "the workload: the shapes (3,), (2,), () do not broadcast",
        ),
    ],
)
def test_a_contradiction_is_one_line(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == message
