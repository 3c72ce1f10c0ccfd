"""Capacity: what is left for the cache, and how many tokens and sequences fit into it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kvwall.simulator.capacity import Capacity
from kvwall.simulator.setup import Overrides

H100_BYTES = 81_559 * 2**20
#: Llama-3.1-8B: all parameters but the final norm, 2 bytes each.
WEIGHTS_BYTES = 2 * (8_030_261_248 - 4096)


@pytest.fixture(scope="session")
def capacity_of(setup_of: Any) -> Any:
    def made(context: int = 8192, **words: Any) -> Capacity:
        return Capacity(setup_of(**words), context)

    return made


def test_without_an_engine_every_other_byte_is_cache(capacity_of: Any) -> None:
    found = capacity_of(engine="none")
    assert found.weights_arithmetic_bytes == pytest.approx(WEIGHTS_BYTES, rel=1e-9)
    pool = H100_BYTES - found.weights.mid
    assert found.kv.low == found.kv.mid == found.kv.high == pytest.approx(pool)
    assert found.kv_tokens.mid == pool // 131_072
    assert found.max_concurrency.mid == pytest.approx(pool / (8192 * 131_072))


@pytest.mark.parametrize(
    ("scheme", "token_bytes"),
    [
        ("none", 131_072),
        ("fp8", 65_536),
        ("int4", 34_816),
        ("nvfp4", 36_864),
        ("kivi:bits=2", 24_576),
        ("palu:keep=0.5", 65_536),
        ("quest", 139_264),
        ("snapkv", 0),
        ("streaming_llm", 0),
        ("offload:fraction=0.75", 32_768),
        ("prefix", 131_072),
    ],
)
def test_marginal_bytes_of_a_token(capacity_of: Any, scheme: str, token_bytes: float) -> None:
    """What one more token of a long sequence takes: windows, budgets and prefixes are constants of the sequence."""
    assert capacity_of(scheme=scheme, engine="none").bytes_per_token == pytest.approx(token_bytes)


@pytest.mark.parametrize(
    ("scheme", "constant"),
    [
        ("none", 0),
        # 128 values wait in 16 bits instead of 3, in 32 layers of 1,024 channels.
        ("kivi:bits=2", 128 * 32 * 1024 * (2 - 3 / 8)),
        ("streaming_llm", 1024 * 131_072),
    ],
)
def test_constant_bytes_of_a_sequence(capacity_of: Any, scheme: str, constant: float) -> None:
    assert capacity_of(scheme=scheme, engine="none").bytes_per_sequence == pytest.approx(constant, abs=1e-3)


def test_blocks_round_every_sequence_up(capacity_of: Any) -> None:
    """vLLM keeps blocks of 16 tokens: 8,193 tokens take 8,208."""
    found = capacity_of()
    assert found.sequence_bytes(8193.0) == 8208 * 131_072
    assert found.sequence_bytes(8192.0) == 8192 * 131_072
    assert list(found.sequence_bytes(np.array([1.0, 17.0]))) == [16 * 131_072, 32 * 131_072]


def test_a_token_count_is_whole_blocks(capacity_of: Any) -> None:
    found = capacity_of(overrides=Overrides(kv_bytes=100 * 16 * 131_072 + 5))
    assert found.kv_tokens.mid == 1600


def test_what_the_user_read_off_a_log_stands(capacity_of: Any) -> None:
    found = capacity_of(overrides=Overrides(kv_tokens=20_000.0))
    assert found.kv_tokens.mid == 20_000
    assert found.max_concurrency.mid == 20_000 / 8192
    assert bool(found.fits(2, 10_000.0))
    assert not bool(found.fits(3, 10_000.0))
    stated = capacity_of(overrides=Overrides(weights_bytes=2e10, gpu_memory_bytes=8e10), engine="none")
    assert stated.kv.mid == 6e10


def test_fits_at_the_edge(capacity_of: Any) -> None:
    """A pool of 10 sequences of 8,192 tokens holds 10 and not 11, nor 10 of one block more."""
    found = capacity_of(engine="none", overrides=Overrides(kv_bytes=10 * 8192 * 131_072.0))
    assert list(found.fits(np.array([1, 10, 11]), 8192.0)) == [True, True, False]
    assert not bool(found.fits(10, 8193.0))


def test_a_model_larger_than_the_device_holds_nothing(capacity_of: Any) -> None:
    found = capacity_of(model="llama-3.1-70b", engine="none")
    assert found.pool.mid < 0
    assert found.kv.mid == 0
    assert found.kv_tokens.mid == 0
    assert not bool(found.fits(1, 1.0))


def test_replicas_and_attention_groups_hold_their_own_sequences(capacity_of: Any) -> None:
    one = capacity_of(engine="none", overrides=Overrides(kv_bytes=10 * 8192 * 131_072.0))
    two = capacity_of(
        engine="none", on="h100:2", split={"tp": 1, "dp": 2}, overrides=Overrides(kv_bytes=10 * 8192 * 131_072.0)
    )
    assert bool(two.fits(20, 8192.0))
    assert not bool(two.fits(21, 8192.0))
    assert two.max_concurrency.mid == one.max_concurrency.mid == 10


@pytest.mark.parametrize(
    ("model", "on", "split", "token_bytes"),
    [
        ("llama-3.1-8b", "h100:8", {"tp": 8}, 16_384),
        ("llama-3.1-8b", "h100:16", {"tp": 16}, 16_384),  # 8 KV heads cannot be cut
        ("llama-3.1-8b", "h100:8", {"tp": 2, "pp": 4}, 16_384),
        ("deepseek-v3", "h200:8", {"tp": 8}, 70_272),  # every rank keeps the latent
        ("deepseek-v3", "h200:8", {"tp": 8, "dcp": 8}, 8784),
        ("deepseek-v3", "h200:8", {"tp": 8, "attn_dp": 8}, 70_272),
    ],
)
def test_bytes_of_a_token_on_one_rank(
    capacity_of: Any, model: str, on: str, split: dict[str, int], token_bytes: float
) -> None:
    found = capacity_of(model=model, on=on, split=split, engine="none")
    assert found.bytes_per_token == pytest.approx(token_bytes)


def test_attention_groups_multiply_the_sequences(capacity_of: Any) -> None:
    """Eight ranks with a copy each hold 1 token pool; eight ranks with sequences of their own hold 8."""
    pool = Overrides(kv_bytes=1e10)
    copies = capacity_of(model="deepseek-v3", on="h200:8", split={"tp": 8}, engine="none", overrides=pool)
    own = capacity_of(model="deepseek-v3", on="h200:8", split={"tp": 8, "attn_dp": 8}, engine="none", overrides=pool)
    assert own.max_concurrency.mid == pytest.approx(8 * copies.max_concurrency.mid)
    assert own.kv_tokens.mid == pytest.approx(8 * copies.kv_tokens.mid)


def test_a_shared_prefix_is_paid_once(capacity_of: Any) -> None:
    """100 sequences of 8,192 tokens with 4,096 in common: a pool of 4,096 + 100 x 4,096 tokens holds exactly them."""
    pool = Overrides(kv_bytes=(4096 + 100 * 4096) * 131_072.0)
    found = capacity_of(scheme="prefix:tokens=4096", engine="none", overrides=pool)
    assert found.max_concurrency.mid == pytest.approx(100)
    assert list(found.fits(np.array([100, 101]), 8192.0)) == [True, False]


def test_selection_never_raises_the_batch_and_eviction_does(capacity_of: Any) -> None:
    at = {scheme: capacity_of(scheme=scheme, context=32_768).max_concurrency.mid for scheme in ("none", "quest",
          "snapkv", "fp8", "offload:fraction=0.5")}  # fmt: skip
    assert at["quest"] < at["none"]
    assert at["snapkv"] == pytest.approx(32 * at["none"], rel=0.01)
    assert at["fp8"] == pytest.approx(2 * at["none"], rel=0.01)
    assert at["offload:fraction=0.5"] == pytest.approx(2 * at["none"], rel=0.01)


def test_all_of_a_cache_elsewhere_needs_no_device_memory(capacity_of: Any) -> None:
    found = capacity_of(scheme="offload", engine="none")
    assert found.sequence_bytes(8192.0) == 0
    assert found.sequence_bytes(np.array([1.0, 2.0])).shape == (2,)
    # 2 TiB of DRAM a host of eight devices, 2,199,023,255,552 bytes on a lone one: 131,072 x 8192 = 2^30 B a sequence.
    assert found.max_concurrency.mid == pytest.approx(2048)
    assert found.kv_tokens.mid == 2048 * 8192
    assert bool(found.fits(2047, 8192.0))
    assert not bool(found.fits(2049, 8192.0))


def test_what_grows_faster_than_its_context_counts_the_tokens_of_sequences_that_fit(setup_of: Any) -> None:
    """ALISA's history of scores grows with the square of the context: tokens are sequences that fit, times context."""
    capacity = Capacity(setup_of("llama-3.1-8b", "alisa"), 8192)
    assert capacity.kv_tokens.mid == np.floor(capacity.concurrency(capacity.kv.mid) * 8192)
    assert Capacity(setup_of("llama-3.1-8b", "kivi"), 8192).grows_in_proportion
