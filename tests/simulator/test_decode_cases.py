"""Hand-derived decode steps: bytes and FLOPs of every kind of attention and feed-forward network."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from kvwall.simulator.estimate import Axes

exactly = pytest.approx


def test_grouped_query_attention(measure: Any) -> None:
    """Llama-3.1-8B, 32 sequences of 8,192 tokens: every product is 2 FLOP a parameter and token."""
    found = measure(Axes(32, 8192))
    # A layer: Q and O 4096 x 4096, K and V 4096 x 1024, three matrices of 4096 x 14336. LM head 4096 x 128256.
    layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336
    parameters = 32 * layer + 4096 * 128256
    assert parameters == 7_504_658_432
    assert found["weights_read_bytes"] == exactly(15_009_316_864)
    # Scores and weighted sum: 2 x 2 x 32 heads x 128 channels a cached token and layer.
    assert found["attention_flops"] == exactly(4 * 32 * 128 * 32 * 262_144)
    assert found["matrix_flops"] == exactly(2 * 7_504_658_432 * 32 + 137_438_953_472)
    assert found["kv_read_bytes"] == exactly(34_359_738_368)
    assert found["kv_written_bytes"] == exactly(4_194_304)


def test_multi_head_attention(measure: Any) -> None:
    """Llama-2-7B has as many KV heads as query heads: the same FLOPs on four times the bytes."""
    found = measure(Axes(8, 4096), model="llama-2-7b")
    parameters = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008) + 4096 * 32000
    assert found["weights_read_bytes"] == exactly(2 * parameters) == exactly(13_214_154_752)
    assert found["kv_read_bytes"] == exactly(17_179_869_184)
    assert found["attention_flops"] == exactly(4 * 32 * 128 * 32 * 32_768)


def test_several_query_tokens_read_the_cache_once(measure: Any) -> None:
    """A verification of four tokens multiplies four times as much and writes four tokens, but reads no more."""
    one, four = measure(Axes(8, 4096)), measure(Axes(8, 4096, query_tokens=4))
    assert four["kv_read_bytes"] == one["kv_read_bytes"]
    assert four["kv_written_bytes"] == 4 * one["kv_written_bytes"]
    assert four["attention_flops"] == 4 * one["attention_flops"]


def test_mixture_reads_the_experts_that_the_batch_touches(measure: Any) -> None:
    """Mixtral, 4 tokens, 2 of 8 experts each: 8 x (1 - (3/4)^4) = 5.46875 experts a layer."""
    twice = measure(Axes(8, 1000), model="mixtral-8x7b", on="h200:2", split={"tp": 1, "dp": 2})
    alone = measure(Axes(4, 1000), model="mixtral-8x7b", on="h200")
    attention, router, expert = 41_943_040, 4096 * 8, 3 * 4096 * 14336
    parameters = 32 * (attention + router + Fraction(175, 32) * expert) + 4096 * 32000
    assert alone["weights_read_bytes"] == exactly(float(2 * parameters)) == exactly(64_604_864_512)
    # Only the two experts a token visits multiply.
    assert alone["matrix_flops"] - alone["attention_flops"] == exactly(
        2 * 4 * (32 * (attention + router + 2 * expert) + 4096 * 32000)
    )
    assert twice["weights_read_bytes"] == exactly(2 * alone["weights_read_bytes"])


@pytest.mark.parametrize(("batch", "touched"), [(1, 8.0), (2, 15.5), (64, 128 * (1 - 0.9375**64))])
def test_touched_experts_of_128(measure: Any, batch: int, touched: float) -> None:
    """Qwen3-30B-A3B, 8 of 128 experts: 128 (1 - (15/16)^T)."""
    found = measure(Axes(batch, 1000), model="qwen3-30b-a3b")
    attention = 2 * 2048 * 4096 + 2 * 2048 * 512
    parameters = 48 * (attention + 2048 * 128 + touched * 3 * 2048 * 768) + 2048 * 151936
    assert found["weights_read_bytes"] == exactly(2 * parameters)
    if batch == 1:
        assert found["weights_read_bytes"] == exactly(6_083_313_664)


def test_latent_attention(measure: Any) -> None:
    """DeepSeek-V3: 576 numbers (1,152 bytes) a token and layer for all heads; absorbed products of 576 + 512."""
    found = measure(Axes(16, 8192), model="deepseek-v3")
    assert found["kv_stored_bytes"] == exactly(131_072 * 70_272)
    assert found["kv_read_bytes"] == exactly(131_072 * 61 * 1152)
    assert found["kv_written_bytes"] == exactly(16 * 70_272)
    assert 2 * 128 * (576 + 512) == 278_528
    assert found["attention_flops"] == exactly(131_072 * 61 * 278_528)


def test_latent_projections_absorb_the_up_projection(measure: Any) -> None:
    """Queries and outputs pass through the 512 x 128 x (128 + 128) up-projection once a token."""
    found = measure(Axes(1, 1000), model="deepseek-v3")
    attention = 7168 * 1536 + 1536 * 128 * 192 + 7168 * 576 + 512 * 128 * 256 + 128 * 128 * 7168
    dense, expert, router = 3 * 7168 * 18432, 3 * 7168 * 2048, 7168 * 256
    parameters = 61 * attention + 3 * dense + 58 * (9 * expert + router) + 7168 * 129280
    assert found["weights_read_bytes"] == exactly(2 * parameters)
    assert found["matrix_flops"] - found["attention_flops"] == exactly(2 * parameters)


@pytest.mark.parametrize(("context", "chosen"), [(8192, 2048), (1024, 1024)])
def test_sparse_attention_reads_chosen_latents_and_every_index_key(measure: Any, context: int, chosen: int) -> None:
    """DeepSeek-V3.2: 132 bytes of index key a token and layer, 64 heads of 128 score all of them, 2,048 are read."""
    found = measure(Axes(1, context), model="deepseek-v3.2")
    assert found["kv_stored_bytes"] == exactly(context * (70_272 + 61 * 132))
    assert found["kv_read_bytes"] == exactly(chosen * 70_272 + context * 8_052)
    assert found["attention_flops"] == exactly(61 * chosen * 278_528 + 61 * 2 * 64 * 128 * context)


def test_hybrid_reads_and_writes_its_state_whole(measure: Any) -> None:
    """Qwen3.5-27B: 16 full layers of 4,096 bytes a token, 48 states of 3,207,168 bytes a sequence."""
    found = measure(Axes(4, 10_000), model="qwen3.5-27b")
    state = 48 * (3_145_728 + 61_440)
    assert state == 153_944_064
    assert found["kv_stored_bytes"] == exactly(4 * (10_000 * 65_536 + state)) == exactly(3_237_216_256)
    assert found["kv_read_bytes"] == exactly(3_237_216_256)
    assert found["kv_written_bytes"] == exactly(4 * (65_536 + state))
    assert found["attention_flops"] == exactly(4 * 24 * 256 * 16 * 40_000)


@pytest.mark.parametrize(
    ("model", "context", "bytes_"),
    [
        ("gemma-3-27b", 32_768, 10 * 32_768 * 8192 + 52 * 1024 * 8192),
        ("gemma-3-27b", 500, 62 * 500 * 8192),
        ("gpt-oss-20b", 32_768, 12 * 32_768 * 2048 + 12 * 128 * 2048),
        ("gpt-oss-20b", 100, 24 * 100 * 2048),
    ],
)
def test_sliding_layers_keep_a_window(measure: Any, model: str, context: int, bytes_: int) -> None:
    """Local layers store and read no more than their window of 1,024 or 128 tokens."""
    found = measure(Axes(1, context), model=model)
    assert found["kv_stored_bytes"] == exactly(bytes_)
    assert found["kv_read_bytes"] == exactly(bytes_)


def test_sliding_layers_multiply_a_window(measure: Any) -> None:
    found = measure(Axes(2, 32_768), model="gpt-oss-20b")
    assert found["attention_flops"] == exactly(2 * 12 * 4 * 64 * 64 * (32_768 + 128))


def test_chunked_layers_read_the_current_chunk(measure: Any) -> None:
    """Llama-4-Scout: 12 full layers; 36 layers see only their chunk of 8,192 tokens, of which one began."""
    token = 2 * 8 * 128 * 2
    found = measure(Axes(1, 8193), model="llama-4-scout")
    assert found["kv_read_bytes"] == exactly(12 * 8193 * token + 36 * 1 * token)
    found = measure(Axes(1, 8192), model="llama-4-scout")
    assert found["kv_read_bytes"] == exactly(48 * 8192 * token)


def test_query_dependent_reads_cannot_be_prefetched(measure: Any) -> None:
    """What an indexer (or Quest) chooses is known after the query: its copy adds to the computation, never hides."""
    cases = [("llama-3.1-8b", "quest:dense_layers=0+"), ("deepseek-v3.2", "")]
    for model, choice in cases:
        away = measure(Axes(1, 65_536), model=model, scheme=f"{choice}offload")
        home = measure(Axes(1, 65_536), model=model, scheme=choice.rstrip("+") or "none")
        weights_s = home["weights_read_bytes"] / 3.35e12
        assert away["ideal_s"] > weights_s + 0.99 * away["host_link_bytes"] / 63.015e9


def test_known_reads_hide_under_the_computation(measure: Any) -> None:
    """One percent of the cache crosses while the weights are read: 1.3 MB of link against 15 GB of memory."""
    away = measure(Axes(1, 1024), scheme="offload:fraction=0.01")
    assert away["host_link_bytes"] > 1e6
    assert away["ideal_s"] == exactly(measure(Axes(1, 1024))["ideal_s"], rel=1e-3)
