"""Hand-derived splits: what tensor, pipeline, data, expert and context parallelism do to bytes, FLOPs and links."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kvwall.hardware.errors import InputError
from kvwall.hardware.system import make_system
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.deployment import make_deployment
from kvwall.simulator.estimate import Axes
from kvwall.simulator.weights_memory import rank_weights
from kvwall.workloads.model_lookup import find_model
from kvwall.workloads.weight_format import WEIGHTS

exactly = pytest.approx
LAYERS, TABLE = 6_979_321_856, 525_336_576  # parameters of Llama-3.1-8B in its layers, and in each vocabulary table
KV_PROJECTION = 2 * 4096 * 1024 * 32


def test_tensor_parallelism_splits_heads_and_matrices(measure: Any) -> None:
    """8 ranks, 8 KV heads: one each; in all as many bytes and FLOPs as on one device."""
    one, eight = measure(Axes(32, 8192)), measure(Axes(32, 8192), on="h100:8")
    for name in ("weights_read_bytes", "kv_stored_bytes", "kv_read_bytes", "kv_written_bytes", "matrix_flops"):
        assert eight[name] == exactly(one[name]), name


def test_tensor_parallelism_beyond_the_kv_heads_copies_them(measure: Any) -> None:
    """16 ranks, 8 KV heads: every head twice, and its projection too."""
    one = measure(Axes(32, 8192), engine="none")
    sixteen = measure(Axes(32, 8192), on="h100:16", split={"tp": 16}, engine="none")
    assert sixteen["kv_stored_bytes"] == exactly(2 * one["kv_stored_bytes"])
    assert sixteen["kv_read_bytes"] == exactly(2 * one["kv_read_bytes"])
    assert sixteen["device_bytes"] == exactly(one["device_bytes"] / 8)
    assert sixteen["weights_read_bytes"] == exactly(one["weights_read_bytes"] + 2 * KV_PROJECTION)
    assert sixteen["attention_flops"] == exactly(one["attention_flops"])


def test_latents_are_copied_on_every_rank(measure: Any) -> None:
    """DeepSeek-V3: one latent serves all heads, so 8 ranks hold and read it 8 times; the heads' work is split."""
    one = measure(Axes(16, 8192), model="deepseek-v3")
    eight = measure(Axes(16, 8192), model="deepseek-v3", on="h200:8")
    assert eight["kv_stored_bytes"] == exactly(8 * one["kv_stored_bytes"])
    assert eight["kv_read_bytes"] == exactly(8 * one["kv_read_bytes"])
    assert eight["attention_flops"] == exactly(one["attention_flops"])


def test_attention_data_parallelism_copies_no_latent(measure: Any) -> None:
    """Each of 8 ranks attends to 2 sequences of its own with all heads; the attention weights are read 8 times."""
    one = measure(Axes(16, 8192), model="deepseek-v3")
    split = measure(Axes(16, 8192), model="deepseek-v3", on="h200:8", split={"tp": 8, "ep": 8, "attn_dp": 8})
    assert split["kv_stored_bytes"] == exactly(one["kv_stored_bytes"])
    assert split["kv_read_bytes"] == exactly(one["kv_read_bytes"])
    assert split["attention_flops"] == exactly(one["attention_flops"])
    attention = 7168 * 1536 + 1536 * 128 * 192 + 7168 * 576 + 512 * 128 * 256 + 128 * 128 * 7168
    router = 7168 * 256
    more = 7 * 2 * (61 * attention + 58 * router)
    assert split["weights_read_bytes"] - one["weights_read_bytes"] == exactly(more)


def test_decode_context_parallelism_splits_tokens(measure: Any) -> None:
    """8 ranks hold an eighth of the tokens each, for all 128 heads: bytes of one copy, FLOPs as before."""
    one = measure(Axes(16, 8192), model="deepseek-v3.2", engine="none")
    split = measure(Axes(16, 8192), model="deepseek-v3.2", on="h200:8", split={"tp": 8, "dcp": 8}, engine="none")
    assert split["kv_stored_bytes"] == exactly(one["kv_stored_bytes"])
    assert split["kv_read_bytes"] == exactly(one["kv_read_bytes"])
    assert split["attention_flops"] == exactly(one["attention_flops"])
    assert split["device_bytes"] == exactly(one["device_bytes"] / 8)


def test_context_parallelism_needs_copies_to_replace() -> None:
    _, model = find_model("llama-3.1-8b")
    with pytest.raises(InputError) as error:
        make_deployment(model, make_system("h100:8"), tp=8, dcp=2)
    assert str(error.value) == (
        "--dcp 2: splits tokens only over ranks that would hold copies of a KV head; Llama-3.1-8B has 8 KV heads on 8 "
        "ranks (allowed: up to 1)"
    )
    assert make_deployment(model, make_system("h100:16"), tp=16, dcp=2).dcp == 2


def test_state_is_split_but_never_by_tokens(measure: Any) -> None:
    """Qwen3.5-27B on 8 ranks with 2 token shards: 4 KV heads are held twice, or in halves; the state in eighths."""
    one = measure(Axes(4, 10_000), model="qwen3.5-27b")
    eight = measure(Axes(4, 10_000), model="qwen3.5-27b", on="h100:8", split={"tp": 8})
    halves = measure(Axes(4, 10_000), model="qwen3.5-27b", on="h100:8", split={"tp": 8, "dcp": 2})
    tokens = 4 * 10_000 * 65_536
    assert eight["kv_stored_bytes"] - one["kv_stored_bytes"] == exactly(tokens)
    assert halves["kv_stored_bytes"] == exactly(one["kv_stored_bytes"])
    assert halves["kv_read_bytes"] == exactly(one["kv_read_bytes"])


def test_pipeline_reads_the_weights_once_per_microbatch(measure: Any) -> None:
    """Two stages run two microbatches of 16: each reads all weights; the cache is read once in all."""
    one, two = measure(Axes(32, 8192)), measure(Axes(32, 8192), on="h100:2", split={"tp": 1, "pp": 2})
    assert two["weights_read_bytes"] == exactly(2 * one["weights_read_bytes"])
    assert two["kv_read_bytes"] == exactly(one["kv_read_bytes"])
    assert two["kv_stored_bytes"] == exactly(one["kv_stored_bytes"])
    assert two["matrix_flops"] == exactly(one["matrix_flops"])
    assert two["device_bytes"] == exactly(one["device_bytes"] / 2)
    # Both parts wait for the last stage, half the layers and a head of 2 x 525,336,576 bytes:
    # 2 (T / 2 + head).
    read = 15_009_316_864 + 17_179_869_184 + 2_097_152 + 1_050_673_152
    assert two["ideal_s"] == exactly(read / 3.35e12 + 16 * 4096 * 2 / 450e9, rel=1e-6)


def test_one_sequence_fills_one_microbatch(measure: Any) -> None:
    two = measure(Axes(1, 8192), on="h100:2", split={"tp": 1, "pp": 2})
    assert two["weights_read_bytes"] == exactly(15_009_316_864)


def test_uneven_stages_count_the_fullest(measure: Any) -> None:
    """61 layers on two stages: 31 on the fuller one."""
    one = measure(Axes(1, 8192), model="deepseek-v3", engine="none")
    two = measure(Axes(1, 8192), model="deepseek-v3", on="h200:2", split={"tp": 1, "pp": 2}, engine="none")
    assert two["device_bytes"] == exactly(one["device_bytes"] * 31 / 61)


def test_replicas_are_copies(measure: Any) -> None:
    one, two = measure(Axes(16, 8192)), measure(Axes(32, 8192), on="h100:2", split={"tp": 1, "dp": 2})
    for name in ("weights_read_bytes", "kv_stored_bytes", "kv_read_bytes", "matrix_flops", "joules"):
        assert two[name] == exactly(2 * one[name]), name
    assert two["step_s"] == exactly(one["step_s"])


def test_all_reduce_sends_seven_eighths_twice(measure: Any) -> None:
    """Two sums a layer of 32 tokens x 4,096 numbers of 2 bytes: a rank sends 7/8 of a row set to reduce, 7/8 back."""
    found = measure(Axes(32, 8192), on="a100-sxm4-80gb:8")
    rank = 2 * 32 * (2 * 7 / 8 * 32 * 4096 * 2)
    assert found["scale up bytes"] == exactly(8 * rank)
    assert found["scale out bytes"] == 0


def test_a_switch_that_adds_up_is_sent_the_rows_and_an_eighth_of_the_sums_twice(measure: Any) -> None:
    """A rank sends 7/8 of the rows, then its eighth of the sums; the switch hands these on: 9/8 cross each link."""
    found = measure(Axes(32, 8192), on="b200:8")
    assert found["scale up bytes"] == exactly(8 * 2 * 32 * (9 / 8 * 32 * 4096 * 2))


def test_two_nodes_exchange_an_eighth_of_the_rows(measure: Any) -> None:
    """Eight ranks of a node reduce and gather the rows among them; each exchanges its eighth with the other node."""
    found = measure(Axes(32, 8192), on="h100:16", split={"tp": 16})
    rows = 32 * 4096 * 2
    assert found["scale up bytes"] == exactly(16 * 2 * 32 * (2 * 7 / 8 * rows))
    assert found["scale out bytes"] == exactly(16 * 2 * 32 * (2 * 1 / 2 * rows / 8))
    # Two messages in the node and a tree of one level, there and back, in each of 64 sums on 16 ranks.
    assert found["terms"]["wait for messages inside nodes"] == exactly(16 * 64 * 2)
    assert found["terms"]["wait for messages"] == exactly(16 * 64 * 2)


def test_experts_are_reached_by_two_exchanges(measure: Any) -> None:
    """DeepSeek-V3, 32 tokens a rank: 8 rows of 7,168 fp8 numbers out and bf16 numbers back, 7/8 of them elsewhere."""
    found = measure(
        Axes(256, 1000), model="deepseek-v3", on="h200:8", weights="fp8-block",
        split={"tp": 8, "ep": 8, "attn_dp": 8},
    )  # fmt: skip
    routed = 58 * 8 * (32 * 8) * 7168 * (1 + 2) * 7 / 8
    dense = 3 * 8 * (9 / 8 * 256 * 7168 * 2)
    assert found["scale up bytes"] == exactly(routed + dense)


def test_expert_parallelism_touches_the_same_experts(measure: Any) -> None:
    """Whole experts on 8 ranks or an eighth of every expert: the same bytes and FLOPs in all."""
    tensor = measure(Axes(8, 1000), model="qwen3-30b-a3b", on="h100:4", split={"tp": 4})
    expert = measure(Axes(8, 1000), model="qwen3-30b-a3b", on="h100:4", split={"tp": 4, "ep": 4})
    for name in ("weights_read_bytes", "matrix_flops"):
        assert expert[name] == exactly(tensor[name]), name


def test_resident_weights_of_a_rank() -> None:
    """Llama-3.1-8B: 8,030,261,248 parameters of 2 bytes; a stage of two holds half the layers and one table."""
    _, model = find_model("llama-3.1-8b")
    bf16 = WEIGHTS.load("bf16")
    one = rank_weights(model, bf16, make_deployment(model, make_system("h100")))
    final_norm = 4096 * 2
    assert one.rank_bytes == exactly(2 * 8_030_261_248 - final_norm, rel=1e-6)
    two = rank_weights(model, bf16, make_deployment(model, make_system("h100:2"), tp=1, pp=2))
    norms = 64 * 4096
    assert two.rank_bytes == exactly(LAYERS + norms + 2 * TABLE)
    eight = rank_weights(model, bf16, make_deployment(model, make_system("h100:8")))
    assert eight.rank_bytes == exactly(2 * (LAYERS + 2 * TABLE) / 8 + 2 * norms)


def test_factors_of_palu_are_resident_on_their_stage(setup_of: Any) -> None:
    """12,845,056 parameters a layer more: all on one device, half of them on a stage of two."""

    def weights(scheme: str, **words: Any) -> float:
        return Capacity(setup_of(scheme=scheme, **words), 8192).weights_arithmetic_bytes

    assert weights("palu") - weights("none") == exactly(822_083_584)
    two: dict[str, Any] = {"on": "h100:2", "split": {"tp": 1, "pp": 2}}
    assert weights("palu", **two) - weights("none", **two) == exactly(411_041_792)


def test_splits_on_arrays_are_their_cells(measure: Any) -> None:
    words: dict[str, Any] = {"model": "deepseek-v3", "on": "h200:8", "split": {"tp": 4, "pp": 2, "attn_dp": 2}}
    grid = measure(Axes(np.array([[1.0], [4.0], [64.0]]), np.array([100.0, 5000.0])), **words)
    cell = measure(Axes(64.0, 5000.0), **words)
    assert grid["step_s"][2, 1] == exactly(cell["step_s"], rel=1e-12)


def test_the_bound_sends_the_rows_once(measure: Any) -> None:
    """A switch may add up the rows in flight, so only one of the two passes of an all-reduce bounds the time."""
    found = measure(Axes(32, 8192), on="h100:8")
    read = (15_009_316_864 + 34_359_738_368 + 4_194_304) / 8
    sent = 2 * 32 * (7 / 8 * 32 * 4096 * 2)
    assert found["ideal_s"] == exactly(read / 3.35e12 + sent / 450e9, rel=1e-6)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "deepseek-v3"])
def test_hosts_attend_for_every_head_once(measure: Any, model: str) -> None:
    one = measure(Axes(16, 8192), model=model, scheme="offload:attend=host")
    eight = measure(Axes(16, 8192), model=model, scheme="offload:attend=host", on="h200:8")
    assert one["host_flops"] == exactly(measure(Axes(16, 8192), model=model)["attention_flops"])
    assert eight["host_flops"] == exactly(one["host_flops"])
    assert one["attention_flops"] == 0


def test_a_pipeline_shares_one_prefix_among_all_microbatches(measure: Any) -> None:
    words: dict[str, Any] = {"on": "h100:2", "split": {"tp": 1, "pp": 2}}
    found = measure(Axes(8, 32_768), scheme="prefix:tokens=4096,cascade=true", **words)
    assert found["kv_stored_bytes"] == exactly((4096 + 8 * 28_672) * 131_072)
    # A cascade kernel reads it once in each of two microbatches.
    assert found["kv_read_bytes"] == exactly((2 * 4096 + 8 * 28_672) * 131_072)
