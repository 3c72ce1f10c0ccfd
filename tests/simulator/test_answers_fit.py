"""Fit: the parts of a GPU, what engines' logs override, and the smallest change from a no to a yes."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.fit import FitAnswer, fit

GIB = 2**30


def test_the_pool_is_what_is_left() -> None:
    answer = fit("llama-3.1-8b", on="h100", context=8192)
    gpu = answer.per_gpu
    assert gpu.usable_bytes == pytest.approx(gpu.memory_bytes * answer.utilization)
    parts = sum(part.bytes.mid for part in gpu.reserve_parts)
    assert parts == pytest.approx(gpu.reserve_bytes.mid)
    assert gpu.kv_bytes.low < gpu.kv_bytes.mid < gpu.kv_bytes.high < gpu.usable_bytes - gpu.weights_bytes
    assert answer.kv_bytes_per_token_per_gpu == 131072
    assert answer.kv_bytes_per_sequence_per_gpu == 0
    assert answer.kv_tokens.mid == gpu.kv_bytes.mid // (16 * 131072) * 16
    assert answer.max_concurrency.mid == pytest.approx(gpu.kv_bytes.mid / (131072 * 8192), rel=1e-3)


def test_replicas_add_up_and_ranks_share() -> None:
    one = fit("llama-3.1-8b", on="h100:2", tp=2, context=8192)
    four = fit("llama-3.1-8b", on="h100:8", tp=2, dp=4, context=8192)
    assert one.kv_bytes_per_token_per_gpu == 131072 / 2
    assert four.kv_tokens == one.kv_tokens
    assert four.kv_tokens_total.mid == 4 * one.kv_tokens.mid


def test_latents_lie_on_every_rank_and_pipelines_split_layers() -> None:
    # DeepSeek-V3: (512 + 64) channels x 61 layers x 2 bytes = 70272 bytes a token, on every tensor-parallel rank.
    assert fit("deepseek-v3", on="h200:8").kv_bytes_per_token_per_gpu == 70272
    # 80 layers in two stages of 40: 2 x 40 x 8 x 128 x 2 bytes over 8 ranks.
    pipeline = fit("llama-3.1-70b", on="h100:16", tp=8, pp=2)
    assert pipeline.kv_bytes_per_token_per_gpu == 2 * 40 * 8 * 128 * 2 / 8


def test_a_draft_layer_caches_as_any_other() -> None:
    # One more of 32 layers: 33/32 of the bytes per token.
    plain = fit("llama-3.1-8b", on="h100")
    drafted = fit("llama-3.1-8b", on="h100", speculative="eagle:3")
    assert drafted.kv_bytes_per_token_per_gpu == plain.kv_bytes_per_token_per_gpu * 33 / 32
    assert fit("llama-3.1-8b", on="h100", speculative="ngram:3").kv_bytes_per_token_per_gpu == 131072


def test_what_a_log_said_is_taken_as_it_is() -> None:
    pool = fit("llama-3.1-8b", on="h100", kv_gib=40.0, context=8192)
    assert (pool.per_gpu.kv_bytes.low, pool.per_gpu.kv_bytes.mid, pool.per_gpu.kv_bytes.high) == (40 * GIB,) * 3
    assert pool.kv_tokens.mid == 40 * GIB / 131072
    assert pool.max_concurrency.mid == pytest.approx(40.0, rel=1e-3)

    tokens = fit("llama-3.1-8b", on="h100", kv_tokens=100_000, context=8192)
    assert (tokens.kv_tokens.low, tokens.kv_tokens.mid, tokens.kv_tokens.high) == (100_000,) * 3
    assert tokens.max_concurrency.mid == 100_000 / 8192
    assert fit("llama-3.1-8b", on="h100", kv_tokens=100_000, context=8192, users=12).fits
    assert not fit("llama-3.1-8b", on="h100", kv_tokens=100_000, context=8192, users=13).fits

    weights = fit("llama-3.1-8b", on="h100", weights_gib=20.0)
    assert weights.per_gpu.weights_loaded_bytes.low == weights.per_gpu.weights_loaded_bytes.high == 20 * GIB
    lighter = fit("llama-3.1-8b", on="h100", weights_gib=19.0)
    assert lighter.per_gpu.kv_bytes.mid == pytest.approx(weights.per_gpu.kv_bytes.mid + GIB)

    memory = fit("llama-3.1-8b", on="h100", gpu_memory_gib=70.0)
    assert memory.per_gpu.memory_bytes == 70 * GIB
    more = fit("llama-3.1-8b", on="h100", gpu_memory_gib=71.0)
    gained = more.per_gpu.kv_bytes.mid - memory.per_gpu.kv_bytes.mid
    assert gained == pytest.approx(more.utilization * GIB, rel=0.01)


def test_adapters_weigh_what_their_matrices_weigh() -> None:
    # Rank 16 on Llama-3.1-8B: QKV 4096 + 6144, output 8192, gate and up 4096 + 28672, down 14336 + 4096; 32 layers.
    parameters = 16 * 32 * ((4096 + 6144) + (4096 + 4096) + (4096 + 28672) + (14336 + 4096))
    plain, adapted = (fit("llama-3.1-8b", on="h100", lora=lora).per_gpu.weights_bytes for lora in (None, "8:16"))
    assert adapted - plain == pytest.approx(8 * 2 * parameters)


#: Questions whose answer is no, each for another reason.
NOES: dict[str, dict[str, Any]] = {
    "too long": {"model": "llama-3.1-8b", "on": "h100", "context": 131072, "users": 5},
    "a little too long": {"model": "llama-3.1-8b", "on": "rtx4090", "context": 65536},
    "too many": {"model": "llama-3.1-70b", "on": "h100:8", "context": 8192, "users": 400},
    "too heavy": {"model": "llama-3.1-70b", "on": "h100", "context": 8192},
    "much too heavy": {"model": "llama-3.1-405b", "on": "h100:4", "context": 8192},
    "latents": {"model": "deepseek-v3", "on": "h200:8", "context": 131072, "users": 200},
    "with a scheme": {"model": "llama-3.1-8b", "on": "h100", "context": 131072, "users": 40, "scheme": "kivi:bits=2"},
    "windows": {"model": "gemma-3-27b", "on": "rtx4090", "context": 65536, "users": 8, "weights": "int4-g128"},
    "replicas": {"model": "llama-3.1-8b", "on": "h100:4", "tp": 1, "dp": 4, "context": 131072, "users": 16},
    "other engine": {"model": "qwen3-32b", "on": "a100:2", "context": 131072, "users": 6, "engine": "sglang"},
}


def changed(question: dict[str, Any], options: str) -> dict[str, Any]:
    """``question`` with the options of a proposed change."""
    words = shlex.split(options)
    found: dict[str, Any] = dict(question)
    for option, value in zip(words[::2], words[1::2], strict=True):
        name = option.removeprefix("--").replace("-", "_")
        found[name] = int(value) if name in {"context", "tp", "pp", "dp", "nodes"} else value
    return found


def proposal(answer: FitAnswer) -> str:
    match = re.search(r"; (--.*) would fit$", answer.reason)
    assert match, answer.reason
    return match[1]


@pytest.mark.parametrize("name", NOES)
def test_the_smallest_change_makes_it_fit(name: str) -> None:
    answer = fit(**NOES[name])
    assert not answer.fits
    assert answer.says_no == answer.reason
    assert "\n" not in answer.reason
    assert fit(**changed(NOES[name], proposal(answer))).fits, answer.reason


def test_a_shorter_context_is_the_longest_that_fits() -> None:
    question = {"model": "llama-3.1-8b", "on": "h100", "context": 131072, "users": 5}
    offered = proposal(fit(**question))  # type: ignore[arg-type]
    assert offered.startswith("--context ")
    longest = int(offered.removeprefix("--context "))
    assert longest >= 131072 / 2
    block = fit(**question).block_tokens  # type: ignore[arg-type]
    assert not fit(**{**question, "context": longest + block}).fits  # type: ignore[arg-type]


def test_the_reason_of_a_no_is_told_in_numbers() -> None:
    heavy = fit("llama-3.1-70b", on="h100").reason
    assert re.fullmatch(
        r"weights 132\.\d\d GiB \+ reserve \d+\.\d\d GiB exceed \d+\.\d\d GiB usable per GPU; --.* would fit", heavy
    ), heavy
    long = fit("llama-3.1-8b", on="h100", context=131072, users=5).reason
    assert re.fullmatch(
        r"5 x 131,072 tokens need 16\.00 GiB each per GPU, the pool of \d+\.\d\d GiB holds 3\.\d\d; "
        r"--context \d+ would fit",
        long,
    ), long


def test_a_yes_says_how_much_room_there_is() -> None:
    answer = fit("llama-3.1-8b", on="h100", context=8192, users=2)
    assert answer.says_no is None
    assert (
        answer.reason == f"there is room for {answer.max_concurrency.mid:,.1f} sequences of 8,192 tokens, 2 asked for"
    )


def test_no_users_are_refused() -> None:
    with pytest.raises(InputError, match=r"^--users 0: must be a whole number from 1$"):
        fit("llama-3.1-8b", on="h100", users=0)


def test_the_reason_of_a_no_shares_what_the_sequences_share() -> None:
    """Of 64 sequences of 8,192 tokens at 128 KiB a token, 1,024 tokens lie once: (1024 / 64 + 7168) * 128 KiB =
    0.877 GiB each, and 64 of them are more than the pool."""
    shared = fit("llama-3.1-8b", on="h100", scheme="prefix:tokens=1024", context=8192, users=64).reason
    assert shared.startswith("64 x 8,192 tokens need 0.88 GiB each per GPU"), shared
