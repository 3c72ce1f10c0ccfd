"""Need: bytes by hand, and machines that really hold them."""

from __future__ import annotations

import pytest

from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.fit import fit
from kvwall.simulator.answers.need import need
from kvwall.workloads.model_spec import MODELS


def test_bytes_by_hand() -> None:
    # Llama-3.1-8B: 2 x 32 layers x 8 heads x 128 channels x 2 bytes = 131072 bytes a token; 8.03 G parameters in bf16.
    answer = need("llama-3.1-8b", context=8192, users=4)
    assert answer.kv_bytes_per_token == 131072
    assert answer.kv_bytes_per_user.bytes == 131072 * 8192 == 2**30
    assert answer.kv_bytes_per_user.gib == 1.0
    assert answer.kv_bytes_total.bytes == 4 * 2**30
    assert answer.weights_bytes.bytes == pytest.approx(2 * 8.03e9, rel=1e-3)
    assert answer.total.bytes == answer.weights_bytes.bytes + answer.kv_bytes_total.bytes


def test_a_window_costs_nothing_more_per_token_beyond_it() -> None:
    # Gemma-3-12B: 8 of 48 layers keep everything, the others 1024 tokens; 8 heads x 256 channels, keys and values.
    layer_bytes = 2 * 8 * 256 * 2
    answer = need("gemma-3-12b", context=65536)
    assert answer.kv_bytes_per_token == 8 * layer_bytes
    assert answer.kv_bytes_per_user.bytes == 8 * layer_bytes * 65536 + 40 * layer_bytes * 1024


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("llama-3.1-70b", {"users": 16}),
        ("llama-3.1-70b", {"users": 64, "scheme": "kivi:bits=2", "weights": "fp8"}),
        ("qwen3-32b", {"users": 8, "engine": "sglang"}),
        ("gemma-3-12b", {"users": 32}),
        ("mixtral-8x7b", {"users": 8, "weights": "int4-g128"}),
    ],
)
def test_a_holder_holds_and_half_of_it_does_not(model: str, options: dict[str, object]) -> None:
    answer = need(model, context=32768, **options)  # type: ignore[arg-type]
    assert answer.holders
    for holder in answer.holders[:6]:
        on = f"{holder.device}:{holder.gpus}"
        held = fit(model, on=on, tp=holder.gpus, context=32768, **options)  # type: ignore[arg-type]
        assert held.fits, on
        assert held.max_concurrency.mid == holder.max_concurrency >= answer.users
        assert held.kv_tokens.mid == holder.kv_tokens
        if holder.gpus > 1:
            half = holder.gpus // 2
            smaller = fit(model, on=f"{holder.device}:{half}", tp=half, context=32768, **options)  # type: ignore[arg-type]
            assert not smaller.fits, on


def test_holders_are_sorted_by_price_with_the_unpriced_last() -> None:
    holders = need("llama-3.1-70b", context=8192).holders
    prices = [holder.usd_per_hour for holder in holders]
    known = [price for price in prices if price is not None]
    assert known == sorted(known)
    assert prices[len(known) :] == [None] * (len(prices) - len(known))
    device = DEVICES.load(holders[0].device)
    assert device.price is not None
    assert known[0] == pytest.approx(device.price.per_hour_usd * holders[0].gpus)


def test_nothing_holds_a_trillion_tokens() -> None:
    assert need("llama-3.1-405b", context=1_000_000_000, users=1000).holders == ()


def test_published_weights_are_the_default_and_a_long_context_is_warned_about() -> None:
    answer = need("deepseek-v3", context=200_000)
    assert answer.weights == "fp8-block"
    limit = MODELS.load("deepseek-v3").max_context
    assert answer.warnings == (f"context 200000 exceeds the model's {limit}",)
    assert need("deepseek-v3", context=limit).warnings == ()


@pytest.mark.parametrize("wrong", [{"context": 0}, {"context": 8192, "users": 0}])
def test_no_users_and_no_tokens_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"^--users .* --context .*: must be whole numbers from 1$"):
        need("llama-3.1-8b", **wrong)  # type: ignore[arg-type]
