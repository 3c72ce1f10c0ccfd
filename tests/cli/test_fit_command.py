"""``kvwall fit``: the fixed keys, exit status 1 with a change that works, and the table."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., tuple[int, str, str]]

#: Of the contract; the answer may carry more.
KEYS = {
    "schema_version", "kvwall_version", "assumptions", "warnings", "model", "device", "gpus", "tp", "pp", "engine",
    "scheme", "fits", "reason", "per_gpu", "kv_bytes_per_token_per_gpu", "kv_bytes_per_sequence_per_gpu", "kv_tokens",
    "kv_tokens_total", "max_concurrency",
}  # fmt: skip
BAND = {"low", "mid", "high"}


def ask(run: Run, command: str) -> tuple[int, dict[str, Any], str]:
    status, stdout, stderr = run(*shlex.split(command), "--json")
    return status, json.loads(stdout), stderr


def test_json_is_one_document_of_the_fixed_keys(run: Run) -> None:
    status, answer, stderr = ask(run, "fit llama-3.1-70b --on h100:8 --context 32k")
    assert (status, stderr, answer["fits"]) == (0, "", True)
    assert set(answer) >= KEYS
    gpu = answer["per_gpu"]
    assert set(gpu) >= {"memory_bytes", "usable_bytes", "weights_bytes", "reserve_bytes", "kv_bytes"}
    for band in (gpu["reserve_bytes"], gpu["kv_bytes"], answer["kv_tokens"], answer["max_concurrency"]):
        assert set(band) == BAND
        assert band["low"] <= band["mid"] <= band["high"]
    assert (answer["device"], answer["gpus"], answer["tp"], answer["pp"]) == ("h100-sxm5-80gb", 8, 8, 1)


@pytest.mark.parametrize(
    "command",
    [
        "fit llama-3.1-8b --on h100 --context 128k --users 5",
        "fit llama-3.1-70b --on h100",
        "fit deepseek-v3 --on h100:8",
        "fit llama-3.1-405b --on h100:8 --context 8k",
        "fit qwen3-32b --on a100:2 --context 128k --users 6 --engine sglang",
    ],
)
def test_a_no_exits_with_1_and_its_change_with_0(run: Run, command: str) -> None:
    status, answer, stderr = ask(run, command)
    assert (status, stderr, answer["fits"]) == (1, "", False)
    change = re.search(r"; (--.*) would fit$", answer["reason"])
    assert change, answer["reason"]
    options = dict(zip(shlex.split(change[1])[::2], shlex.split(change[1])[1::2], strict=True))
    words = shlex.split(command)
    for option, value in options.items():
        if option in words:
            words[words.index(option) + 1] = value
        else:
            words += [option, value]
    status, answer, _ = ask(run, shlex.join(words))
    assert (status, answer["fits"]) == (0, True)


def test_the_table_goes_from_the_memory_to_the_pool(run: Run) -> None:
    status, stdout, stderr = run("fit", "llama-3.1-70b", "--on", "h100:8", "--context", "32k")
    lines = stdout.splitlines()
    assert (status, stderr) == (0, "")
    assert max(map(len, lines)) <= 100
    assert lines[0] == "llama-3.1-70b (bf16, none) on 8 x NVIDIA H100 SXM5 80GB, vllm"
    first_words = [line.split("  ")[0] for line in lines]
    assert first_words.index("memory") < first_words.index("weights, loaded") < first_words.index("KV pool")
    assert any(line.startswith("fits: there is room for ") for line in lines)


def test_a_no_is_told_on_both_streams(run: Run) -> None:
    status, stdout, stderr = run("fit", "llama-3.1-70b", "--on", "h100")
    assert status == 1
    assert "DOES NOT FIT: weights " in stdout
    assert stderr.startswith("kvwall: no: weights ")
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("engine", "usable", "pool"),
    [
        ("vllm", "0.92 of the memory", "what is left"),
        ("sglang", "0.835 of the memory", "usable less weights, context"),
        ("trtllm", "1 of the memory", "0.9 of what is left"),
    ],
)
def test_the_table_says_what_the_fraction_is_of(run: Run, engine: str, usable: str, pool: str) -> None:
    status, stdout, _ = run("fit", "llama-3.1-8b", "--on", "h100", "--engine", engine)
    rows = dict(re.findall(r"^(usable|KV pool) +(\S.*?)  ", stdout, re.MULTILINE))
    assert (status, rows) == (0, {"usable": usable, "KV pool": pool})
