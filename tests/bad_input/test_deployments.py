"""Splits that do not divide, machines that are not there, pools that are missing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

LLAMA = "step llama-3.1-8b --on"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"{LLAMA} h100:0", "--on 'h100:0': the count '0' is not a whole number from 1 to 100000"),
        (f"{LLAMA} h100:-1", "--on 'h100:-1': the count '-1' is not a whole number from 1 to 100000"),
        (f"{LLAMA} h100:two", "--on 'h100:two': the count 'two' is not a whole number from 1 to 100000"),
        (f"{LLAMA} h100:", "--on 'h100:': the count '' is not a whole number from 1 to 100000"),
        (f"{LLAMA} h100:8 --tp 3", "--tp 3 --pp 1 --dp 2: make 6 devices, but --on gives 8"),
        (f"{LLAMA} h100:8 --tp 2 --pp 2 --dp 3", "--tp 2 --pp 2 --dp 3: make 12 devices, but --on gives 8"),
        (
            f"{LLAMA} h100:3 --tp 3",
            "--tp 3: does not divide the 32 query heads of Llama-3.1-8B (allowed: 1, 2, 4, 8, 16, 32)",
        ),
        (f"{LLAMA} h100:64 --pp 64", "--pp 64: Llama-3.1-8B has only 32 layers"),
        (f"{LLAMA} h100:8 --tp 0", "--tp 0: must be a whole number from 1"),
        (f"{LLAMA} h100:8 --ep 8", "--ep 8: Llama-3.1-8B has no experts"),
        ("step mixtral-8x7b --on h100:8 --ep 3", "--ep 3: does not divide --tp 8"),
        (f"{LLAMA} h100:8 --attn-dp 3", "--attn-dp 3: does not divide --tp 8"),
        (f"{LLAMA} h100:8 --attn-dp 0", "--attn-dp 0: must be a whole number from 1"),
        (
            f"{LLAMA} h100:8 --dcp 8",
            "--dcp 8: splits tokens only over ranks that would hold copies of a KV head; Llama-3.1-8B has 8 KV heads "
            "on 8 ranks (allowed: up to 1)",
        ),
        (f"{LLAMA} h100:8 --nodes 3", "--nodes 3: 8 devices cannot be spread evenly over 3 nodes"),
        (f"{LLAMA} h100:8 --nodes 0", "--nodes 0: 8 devices cannot be spread evenly over 0 nodes"),
        (
            "fit llama-3.1-8b --on prefill=h100:8,decode=h20:8",
            "--on 'prefill=h100:8,decode=h20:8': fit asks about one pool at a time (write 'h100:8')",
        ),
        (
            f"{LLAMA} prefill=h100:8",
            "--on 'prefill=h100:8': has no pool for decode (write prefill=h100:8,decode=h20:8)",
        ),
        (
            f"{LLAMA} prefill=h100:8,decod=h20",
            "--on 'prefill=h100:8,decod=h20': 'decod=h20' is not a pool; did you mean 'decode'? "
            "(write prefill=h100:8,decode=h20:8)",
        ),
        (f"{LLAMA} decode=h100,decode=h20", "--on 'decode=h100,decode=h20': the pool 'decode' stands twice"),
    ],
)
def test_a_machine_or_split_that_cannot_be(refusal: Callable[[str], str], command: str, message: str) -> None:
    assert refusal(command) == message
