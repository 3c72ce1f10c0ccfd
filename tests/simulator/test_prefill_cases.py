"""Hand-derived prefills: FLOPs over causal pairs, passes that read the weights again, prefix hits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvwall.simulator.estimate import Axes
from kvwall.simulator.operators.prefill import causal_pairs, chunked_pairs

exactly = pytest.approx
LAYERS, HEAD = 6_979_321_856, 525_336_576  # parameters of Llama-3.1-8B in its layers and in its LM head


def test_one_pass(measure: Any) -> None:
    """2 FLOP a parameter and token, the LM head for the last token only, and 8,192 x 8,193 / 2 causal pairs."""
    found = measure(Axes(1, 8192, "prefill"))
    pairs = 8192 * 8193 // 2
    assert found["matrix_flops"] == exactly(2 * LAYERS * 8192 + 2 * HEAD + 4 * 32 * 128 * 32 * pairs)
    assert found["kv_written_bytes"] == exactly(8192 * 131_072)
    assert found["kv_read_bytes"] == 0
    assert found["weights_read_bytes"] == exactly(2 * (LAYERS + HEAD))


def test_the_causal_half_of_the_published_count(measure: Any) -> None:
    """A prompt of 32,768 tokens: 5.26e14 FLOP of products (all parameters counted) and 2.81e14 of attention."""
    found = measure(Axes(1, 32_768, "prefill"))
    assert found["attention_flops"] == exactly(2.81e14, rel=2e-3)
    assert found["matrix_flops"] == exactly(8.08e14 - 2 * 2 * HEAD * 32_768, rel=3e-3)


def test_chunks_read_the_weights_again_but_not_in_the_bound(measure: Any) -> None:
    """An engine with 8,192 batched tokens cuts 32,768 tokens into 4 passes; the bound assumes one."""
    whole = measure(Axes(1, 32_768, "prefill"), max_batched_tokens=32_768)
    chunks = measure(Axes(1, 32_768, "prefill"), max_batched_tokens=8192)
    assert whole["weights_read_bytes"] == exactly(2 * (LAYERS + HEAD))
    assert chunks["weights_read_bytes"] == exactly(2 * (4 * LAYERS + HEAD))
    assert chunks["matrix_flops"] == exactly(whole["matrix_flops"])
    assert chunks["ideal_s"] == exactly(whole["ideal_s"])
    assert chunks["step_s"] > whole["step_s"]


def test_chunks_read_router_shared_and_routed_experts_again(measure: Any) -> None:
    """DeepSeek-V3, 2 passes of 8,192 tokens: every expert is touched in each, and so are router and shared expert."""
    one = measure(Axes(1, 8192, "prefill"), model="deepseek-v3", max_batched_tokens=8192)
    two = measure(Axes(1, 16_384, "prefill"), model="deepseek-v3", max_batched_tokens=8192)
    head = 2 * 7168 * 129_280
    assert two["weights_read_bytes"] - head == exactly(2 * (one["weights_read_bytes"] - head))


def test_latents_are_expanded(measure: Any) -> None:
    """DeepSeek-V3 prefills with ordinary heads of 192 + 128 channels."""
    found = measure(Axes(1, 4096, "prefill"), model="deepseek-v3")
    assert found["attention_flops"] == exactly(2 * 128 * (192 + 128) * 61 * 4096 * 4097 // 2)


@pytest.mark.parametrize(
    ("context", "products"),
    [
        # All pairs of expanded heads are less work than 2,048 absorbed latents for each query ...
        (8192, (192 + 128) * 33_558_528),
        # ... until the prompt is long: 2,048 x 2,049 / 2 + 30,720 x 2,048 chosen pairs.
        (32_768, (576 + 512) * 65_012_736),
    ],
)
def test_sparse_attention_bounds_the_pairs(measure: Any, context: int, products: int) -> None:
    found = measure(Axes(1, context, "prefill"), model="deepseek-v3.2")
    index = 2 * 64 * 128 * 61 * (context * (context + 1) // 2)
    assert found["attention_flops"] == exactly(2 * 128 * 61 * products + index)


def test_sliding_layers_multiply_their_window(measure: Any) -> None:
    """Gemma-3-27B, 4,096 tokens: 10 layers with all pairs; 52 with 1,024 x 1,025 / 2 + 3,072 x 1,024."""
    found = measure(Axes(1, 4096, "prefill"), model="gemma-3-27b")
    pairs = 10 * 4096 * 4097 // 2 + 52 * (1024 * 1025 // 2 + 3072 * 1024)
    assert found["attention_flops"] == exactly(4 * 32 * 128 * pairs)


def test_later_chunk_of_a_prompt(measure: Any) -> None:
    """The last 8,192 of 32,768 tokens: read the 24,576 before, write their own."""
    found = measure(Axes(1, 32_768, "prefill", query_tokens=8192))
    assert found["kv_read_bytes"] == exactly(24_576 * 131_072)
    assert found["kv_written_bytes"] == exactly(8192 * 131_072)
    pairs = 8192 * 24_576 + 8192 * 8193 // 2
    assert found["attention_flops"] == exactly(4 * 32 * 128 * 32 * pairs)


def test_prefix_hit_computes_the_rest(measure: Any) -> None:
    """16,384 of 32,768 tokens are cached: half the products, and three quarters of the pairs."""
    found = measure(Axes(1, 32_768, "prefill"), scheme="prefix:tokens=16384")
    pairs = 16_384 * 16_384 + 16_384 * 16_385 // 2
    assert found["matrix_flops"] == exactly(2 * LAYERS * 16_384 + 2 * HEAD + 4 * 32 * 128 * 32 * pairs)
    assert found["kv_written_bytes"] == exactly(16_384 * 131_072)


@pytest.mark.parametrize(("scheme", "bits"), [("fp8", 8), ("nvfp4", 4.5), ("quantize:bits=4,group=32", 5)])
def test_new_tokens_are_written_in_their_format(measure: Any, scheme: str, bits: float) -> None:
    found = measure(Axes(2, 4096, "prefill"), scheme=scheme)
    assert found["kv_written_bytes"] == exactly(2 * 4096 * 65_536 * bits / 8)


def test_kivi_writes_its_window_in_sixteen_bits(measure: Any) -> None:
    """Of 4,160 tokens the last 64 keys and 128 values stay in 16 bits."""
    found = measure(Axes(1, 4160, "prefill"), scheme="kivi:bits=2")
    body, window = (4096 + 4032) * 3 / 8, (64 + 128) * 2
    assert found["kv_written_bytes"] == exactly(32 * 1024 * (body + window))


@given(queries=st.integers(1, 60), before=st.integers(0, 60), window=st.integers(1, 70))
def test_causal_pairs_by_enumeration(queries: int, before: int, window: int) -> None:
    positions = range(before + 1, before + queries + 1)
    assert causal_pairs(queries, before + queries, None) == sum(positions)
    assert causal_pairs(queries, before + queries, window) == sum(min(window, p) for p in positions)
    assert chunked_pairs(queries, before + queries, window) == sum((p - 1) % window + 1 for p in positions)


def test_pairs_broadcast() -> None:
    queries, context = np.array([[1.0], [10.0]]), np.array([10.0, 100.0, 1000.0])
    found = causal_pairs(queries, context, 16.0)
    assert np.shape(found) == (2, 3)
    assert found[1, 0] == 55


def test_later_chunk_reads_no_more_than_the_windows(measure: Any) -> None:
    """Gemma-3-27B: the first new query sees 1,023 earlier tokens in 52 local layers, and all in 10 global ones."""
    found = measure(Axes(1, 8192, "prefill", query_tokens=4096), model="gemma-3-27b")
    assert found["kv_read_bytes"] == exactly((10 * 4096 + 52 * 1023) * 8192)
