"""Quantities of attention kernels, latents, low-rank caches and arrays against sums by hand."""

from __future__ import annotations

from typing import Any

import pytest

from kvwall.validate.quantities.attention_backward import shared_bytes
from kvwall.validate.reproducing.point import point_of, quantity_of

GENERATIONS = ("standard", "flash1", "flash2", "flash3")
WORDS: dict[str, Any] = {"engine": "none", "weights": "bf16", "calibration": "none", "batch": 1}


def found(name: str, **words: Any) -> float:
    return quantity_of(name)(point_of(WORDS, words))


def kernel(name: str, head_dim: int, tokens: int, on: str = "h100-sxm5-80gb", **words: Any) -> float:
    heads = 2048 // head_dim
    changes = [
        f"model.attention.0.q_heads={heads}",
        f"model.attention.0.kv_heads={heads}",
        f"model.attention.0.head_dim={head_dim}",
    ]
    batch = 16384 // tokens
    return found(name, model="llama-3.2-1b", on=on, phase="prefill", batch=batch, context=tokens, set=changes, **words)


def test_flash_attention_2_adds_products_and_softmax() -> None:
    """Long heads of 128 channels on an A100: 512 FLOP a score at 271.2 TFLOP/s of 108 units take 203.9 ps, operands of
    16 bytes at 128 bytes a cycle 88.7 ps beside them, 205.7 ps at a sharpness of 4; an exponential 1 / (16 x 1.41 GHz)
    = 44.3 ps, 4 + 128 / 64 instructions of 9.75e12 / 108 lanes 66.5 ps: 316.5 ps, 174.7 TFLOP/s of all units. One block
    of keys more than 256 and a launch of 7 us take 0.45 % of it."""
    assert kernel("flash2_full_flops_per_s", 128, 16384, "a100-sxm4-80gb") == pytest.approx(173.9e12, rel=1e-3)


def test_the_backward_pass_counts_five_products() -> None:
    """Tiles of 128 x 128 at 64 channels, eight warps in 4 x 2: S and dP load 2 x 64 x (128 x 2 + 128 x 4) = 98,304
    bytes each, dV and dK 2 x 128 x (128 x 2 + 64 x 4) = 131,072 each, dQ as many, P and dS 65,536: 40 bytes a score."""
    assert shared_bytes(64, 164 * 1024) == (2 * 98_304 + 3 * 131_072 + 65_536) / 128**2 == 40
    # 64 x 128 at 128 channels, 2 x 4, 4 x 2 and 2 x 4: 131,072 x 2 + 98,304 x 2 + 131,072 + 32,768.
    assert shared_bytes(128, 164 * 1024) == (3 * 131_072 + 2 * 98_304 + 32_768) / (64 * 128) == 76


def test_forward_and_backward_lie_between_their_rates() -> None:
    for head_dim in (64, 128):
        both, back, forward = (
            kernel(f"flash2_full_{name}flops_per_s", head_dim, 4096, "a100-sxm4-80gb")
            for name in ("both_", "back_", "")
        )
        assert min(back, forward) < both < max(back, forward)
        # Seconds add up: 3.5 parts of the forward FLOP are 1 and 2.5.
        assert 3.5 / both == pytest.approx(1 / forward + 2.5 / back)


def test_wider_heads_have_no_known_backward_tile() -> None:
    with pytest.raises(ValueError, match="heads of 256; at most 128"):
        shared_bytes(256, 164 * 1024)


def test_standard_attention_copies_its_inputs_and_adds_its_mask() -> None:
    """A mask is written and read as 2 x 512^2 elements of each of 512 heads, and built once of 18 bytes an element."""

    def seconds(name: str) -> float:
        flops = 4 * 512**2 * 128 * 16 * 32
        return flops / kernel(name, 128, 512) * (0.5 if "causal" in name else 1.0)

    added = seconds("standard_causal_flops_per_s") - seconds("standard_full_flops_per_s")
    assert added == pytest.approx((2 * 2 * 512**2 * 512 + 18 * 512**2) / (0.75 * 3.35e12), rel=1e-6)


def test_a_small_vector_goes_to_all_in_one_message() -> None:
    """7 x 1,024 bytes over 300 GB/s at 0.7, one message of 3.33 us and the start of a kernel in a graph."""
    words: dict[str, Any] = {"model": "llama-2-70b", "on": "a100-sxm4-40gb:8", "calibration": "none", "context": 1024}
    sent = 7 * 1024 / 300e9 / 0.7
    assert found("one_shot_all_reduce_s", **words) == pytest.approx(sent + 3.33e-6 + 1.1e-6, rel=1e-3)


def test_without_communication_a_step_is_as_long_as_its_computation() -> None:
    words: dict[str, Any] = {"on": "h100:8", "model": "llama-3.1-70b", "input": 1024, "output": 64, "batch": 4}
    silent, half, whole = (found(f"{name}_tokens_per_s", **words) for name in ("silent", "parallel", "offline"))
    assert 2 / half == pytest.approx(1 / silent + 1 / whole, rel=1e-3)
    assert found("silent_gain_x", **words) == pytest.approx(silent / whole, rel=1e-3)


def test_flash_attention_3_is_bound_by_products_of_wide_heads() -> None:
    """At 256 channels a score has 1,024 FLOP against the same softmax, so the rate is near the largest product."""
    rate = kernel("flash3_full_flops_per_s", 256, 16384)
    assert 0.95 * 794.5e12 < rate < 794.5e12
    assert kernel("flash3_full_flops_per_s", 64, 16384) < 0.8 * rate


def test_generations_are_in_order() -> None:
    for causal in ("full", "causal"):
        rates = [
            kernel(f"{name}_{causal}_flops_per_s", 128, 8192) for name in ("standard", "flash1", "flash2", "flash3")
        ]
        assert rates == sorted(rates)


def test_a_mask_costs_whole_tiles_of_its_diagonal() -> None:
    """A causal kernel visits (T + 1) / 2 T of the tiles and is credited with half: it can only be slower."""
    for tokens in (512, 4096):
        assert kernel("flash2_causal_flops_per_s", 64, tokens) < kernel("flash2_full_flops_per_s", 64, tokens)


def test_experts_are_sent_rows_of_one_and_two_bytes() -> None:
    """32 tokens x 9 experts x 7,168 channels x 3 bytes over 50 GB/s: 123.86 us; two halves in 61 layers 15.11 ms."""
    words: dict[str, Any] = {"model": "deepseek-v3", "on": "h800-sxm5-80gb:16", "batch": 32}
    assert found("expert_exchange_s", **words) == pytest.approx(123.863e-6, rel=1e-4)
    assert found("exchange_bound_step_s", **words) == pytest.approx(15.1113e-3, rel=1e-4)
    assert found("exchange_bound_tokens_per_s", **words) == pytest.approx(66.176, rel=1e-4)


def test_break_even_of_rematerialisation() -> None:
    """7B on 756 TFLOP/s and the card's bandwidth: products 4 x 4,096^2 x 32 FLOP a token meet 13.2 GB of weights."""
    words: dict[str, Any] = {"model": "llama-2-7b", "on": "h100-pcie-80gb", "scheme": "xquant:bits=2"}
    tokens = found("compute_bound_tokens", **words)
    device = point_of(WORDS, words).setup.system.device
    balance = device.matrix_flops_per_s("bf16") / device.hbm.bandwidth_bytes_per_s
    by_hand = balance * 13_214_154_752 / (4 * 4096**2 * 32 - balance * 36_864)
    assert tokens == pytest.approx(by_hand, rel=0.02)


def test_equivalent_bandwidth_of_chunks_from_the_host() -> None:
    """128K tokens: 131,072 x 4,096 bytes a layer, of which 16,328 landmarks, 6,553.6 rows of 320, a factor and 2,496
    tokens of keys and values are read, 46,087,373 bytes, and 1,677,721.6 bytes cross the link."""
    words: dict[str, Any] = {"model": "llama-3.1-8b", "on": "a100-sxm4-80gb", "context": 131072, "scheme": "shadowkv"}
    device = point_of(WORDS, words).setup.system.device
    assert device.host_link is not None
    read = 16_328 * 2048 + 6553.6 * 320 + 327_680 + 2 * 2496 * 2048
    seconds = read / device.hbm.bandwidth_bytes_per_s + 1_677_721.6 / device.host_link.bandwidth_bytes_per_s
    assert found("equivalent_bandwidth_bytes_per_s", **words) == pytest.approx(131_072 * 4096 / seconds, rel=1e-9)


def test_arrays_by_hand() -> None:
    """Four vector operations on 256 units against 134 multiply-accumulates on 65,536: 7.64; 256 channels: 4 / 256 over
    262 / 65,536 = 3.91; three models of the first kind and one of the second make 6.71."""
    words: dict[str, Any] = {"model": "gpt2", "on": "fusemax-array"}
    expected = (3 * (4 / 256) / (134 / 65536) + (4 / 256) / (262 / 65536)) / 4
    assert found("single_pass_speedup_over_flat", **words) == pytest.approx(expected, rel=1e-3)
    assert found("array_utilisation_flat", **words) == pytest.approx(0.125, rel=1e-3)
    assert found("flat_traffic_over_single_pass", context=1024, **words) == pytest.approx(1.0)


def test_streamed_layers_keep_a_hidden_row() -> None:
    words: dict[str, Any] = {"model": "gpt2", "on": "a100-sxm4-80gb"}
    assert found("feed_forward_transient_elements", **words) == 3072
    assert found("feed_forward_transient_elements", scheme="flash_svd:kernel=streaming", **words) == 768
    # Attention: ranks of 192 for queries, keys and values, and its output; feed-forward: rank 307.2 and a hidden row.
    streamed = found("transient_elements", scheme="flash_svd:kernel=streaming", **words)
    assert streamed == pytest.approx(max(3 * 192 + 768, 307.2 + 768))
