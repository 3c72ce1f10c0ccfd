"""Inquiries: what the options mean, what is assumed, and what is warned about."""

from __future__ import annotations

import pytest

from kvwall.hardware.errors import InputError
from kvwall.simulator.inquiry import Inquiry, native_weights, resolve
from kvwall.simulator.pools import pool
from kvwall.workloads.model_spec import MODELS

GIB = 2**30


def test_names_and_aliases_mean_the_same() -> None:
    first = resolve(Inquiry("llama-3.1-8b", "h100:2")).setup
    second = resolve(Inquiry("meta-llama/Llama-3.1-8B", "NVIDIA H100 80GB HBM3:2")).setup
    assert first.model == second.model
    assert first.system == second.system
    assert second.model_name == "llama-3.1-8b"


@pytest.mark.parametrize(
    ("model", "weights"),
    [("llama-3.1-8b", "bf16"), ("deepseek-v3", "fp8-block"), ("gpt-oss-20b", "mxfp4"), ("opt-13b", "fp16")],
)
def test_weights_are_as_published_unless_said(model: str, weights: str) -> None:
    assert native_weights(MODELS.load(model)) == weights
    resolved = resolve(Inquiry(model, "h100:8"))
    assert resolved.setup.weights_name == weights
    assert f"weights as published: {weights}" in resolved.assumptions
    said = resolve(Inquiry(model, "h100:8", weights="int4"))
    assert not any("as published" in assumption for assumption in said.assumptions)


def test_gib_become_bytes_and_tokens_stay() -> None:
    stated = resolve(
        Inquiry("llama-3.1-8b", "h100", gpu_memory_gib=79.1, weights_gib=15.0, kv_gib=52.5, kv_tokens=430_080)
    ).setup.overrides
    assert stated.gpu_memory_bytes == 79.1 * GIB
    assert stated.weights_bytes == 15 * GIB
    assert stated.kv_bytes == 52.5 * GIB
    assert stated.kv_tokens == 430_080


def test_pools_by_role() -> None:
    assert pool("h100:8", "decode") == "h100:8"
    assert pool("prefill=h100:8, decode=h20:4", "decode") == "h20:4"
    assert pool("prefill=h100:8, decode=h20:4", "prefill") == "h100:8"
    with pytest.raises(InputError, match=r"^--on 'decode=h20:4': has no pool for prefill"):
        pool("decode=h20:4", "prefill")


def test_everything_that_was_not_said_is_told() -> None:
    told = resolve(Inquiry("llama-3.1-70b", "h100:8")).assumptions
    assert told == (
        "'h100:8' is 8 x NVIDIA H100 SXM5 80GB (h100-sxm5-80gb), split tp8",
        "engine profile: vLLM 0.21 and later",
        "passes of up to 8192 tokens and 1024 sequences",
        "weights as published: bf16",
        "kernels calibrated by h100-sxm5-80gb.vllm; what they do not know by documented class defaults",
        "price 3.99 USD per GPU-hour, as of 2026-11-09",
        "host time and queue of the engine by vllm.llama-3.1-70b, fitted to served points",
    )


def test_a_price_of_ones_own_is_no_assumption() -> None:
    resolved = resolve(Inquiry("llama-3.1-8b", "h100:2", price_usd_per_gpu_hour=2.0))
    assert not any("price" in assumption for assumption in resolved.assumptions)
    assert resolved.setup.usd_per_hour == 4.0


def test_a_missing_price_is_a_warning() -> None:
    assert resolve(Inquiry("llama-3.1-8b", "mi250x")).warnings == (
        "no price is known for AMD Instinct MI250X (both dies): give --price-usd-per-gpu-hour",
    )
    assert resolve(Inquiry("llama-3.1-8b", "mi250x", price_usd_per_gpu_hour=1.0)).warnings == ()


def test_engine_versions_choose_their_profile() -> None:
    assert (
        resolve(Inquiry("llama-3.1-8b", "h100", engine_version="0.9.2")).setup.engine.name
        == "vLLM 0.8 and 0.9 (V1 engine)"
    )
    assert resolve(Inquiry("llama-3.1-8b", "h100", engine="sglang")).setup.engine.engine == "sglang"


def test_the_engine_is_told_what_was_said() -> None:
    setup = resolve(
        Inquiry("llama-3.1-8b", "h100", max_batched_tokens=2048, max_num_seqs=17, block_size=32, max_model_len=4096)
    ).setup
    assert (setup.batched_tokens, setup.num_seqs, setup.block, setup.longest_tokens) == (2048, 17, 32, 4096)


@pytest.mark.parametrize("option", ["memory_utilization", "utilization", "kv_gib", "price_usd_per_gpu_hour"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_numbers_that_cannot_be(option: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"^--{option.replace('_', '-')} {value}: must lie between "):
        resolve(Inquiry("llama-3.1-8b", "h100", **{option: value}))  # type: ignore[arg-type]


def test_a_device_without_an_fp8_unit_says_so() -> None:
    def lines(on: str, **options: str | None) -> list[str]:
        told = resolve(Inquiry("llama-3.1-8b", on, **options)).assumptions  # type: ignore[arg-type]
        return [line for line in told if "matrix unit" in line]

    name = "the NVIDIA A100 SXM4 80GB has no fp8 matrix unit"
    unpacked = "unpacked on the vector unit"
    weights = f"{name}: fp8 weights are {unpacked}, multiplied in bf16"
    cache = f"{name}: fp8 codes of the cache are {unpacked}, attention multiplies in bf16"
    assert lines("a100", weights="fp8", kv_dtype="fp8") == [weights, cache]
    assert lines("a100") == []
    assert lines("h100", weights="fp8", kv_dtype="fp8") == []


def test_a_pool_is_told_apart_from_the_whole() -> None:
    told = resolve(Inquiry("llama-3.1-8b", "prefill=h100:8,decode=h20:4")).assumptions[0]
    assert told.startswith("the decode pool of 'prefill=h100:8,decode=h20:4', the only one priced here, is 4 x ")
