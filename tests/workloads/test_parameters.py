"""Parameter counts: against independent counts and published sizes, and each projection derived by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kvwall.workloads.model_spec import MODELS, DenseFeedForward, ExpertFeedForward, HeadAttention, LatentAttention
from kvwall.workloads.parameters import (
    count_parameters,
    feed_forward_parameters,
    head_projections,
    latent_projections,
)

FIGURES: dict[str, list[int]] = yaml.safe_load((Path(__file__).parent / "model_figures.yaml").read_text())["figures"]

#: Only their KV fields are sourced; the independent count leaves out what they share or add per layer.
INDICATIVE = {"gemma-4-e2b", "gemma-4-e4b", "kimi-linear-48b"}
#: The published size is the rounded name.
ROUNDED = {"infinity-2b", "infinity-8b"}


@pytest.mark.parametrize("name", sorted(set(FIGURES) - INDICATIVE))
def test_total_agrees_with_an_independent_count(name: str) -> None:
    assert count_parameters(MODELS.load(name)).total == pytest.approx(FIGURES[name][4], rel=2e-4)


@pytest.mark.parametrize("name", sorted(set(FIGURES) - INDICATIVE - ROUNDED))
def test_total_agrees_with_the_published_size(name: str) -> None:
    model = MODELS.load(name)
    assert model.published is not None
    assert count_parameters(model).total == pytest.approx(model.published.total_parameters, rel=0.02)


@pytest.mark.parametrize("name", sorted(INDICATIVE | ROUNDED))
def test_models_off_their_published_size_say_so(name: str) -> None:
    notes = " ".join(MODELS.load(name).notes)
    assert "only the KV fields are sourced" in notes or "the published count is the name" in notes


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("gpt2", 124_439_808),
        ("gpt-j-6b", 6_050_882_784),
        ("phi-2", 2_779_683_840),
        ("llama-3.1-8b", 8_030_261_248),
        ("qwen2.5-7b", 7_615_616_512),
        ("mixtral-8x7b", 46_702_792_704),
        ("phi-3.5-moe", 41_873_153_344),
        ("gpt-oss-20b", 20_914_757_184),
    ],
)
def test_exact_counts_of_published_checkpoints(name: str, total: int) -> None:
    assert count_parameters(MODELS.load(name)).total == total


@pytest.mark.parametrize(
    ("name", "billions"), [("mixtral-8x7b", 12.88), ("deepseek-v3", 37.55), ("qwen3-30b-a3b", 3.35), ("jamba-v0.1", 12)]
)
def test_active_parameters(name: str, billions: float) -> None:
    assert count_parameters(MODELS.load(name)).active / 1e9 == pytest.approx(billions, rel=0.01)


def test_a_tied_head_is_stored_once_and_still_read() -> None:
    tied = count_parameters(MODELS.load("llama-3.2-1b"))
    assert tied.by_class["lm_head"] == 0
    assert tied.by_class["embedding"] == tied.lm_head_read == 128_256 * 2048
    apart = count_parameters(MODELS.load("llama-3.1-8b"))
    assert apart.by_class["lm_head"] == apart.by_class["embedding"] == apart.lm_head_read == 128_256 * 4096


def test_classes_add_up_and_extra_is_apart() -> None:
    count = count_parameters(MODELS.load("gemma-3-27b"))
    assert count.extra == 420_000_000
    assert count.total == sum(count.by_class.values()) + 420_000_000
    assert count.active == count.total - 420_000_000


def test_what_is_read_each_step_is_active() -> None:
    count = count_parameters(MODELS.load("var-d16"))
    assert count.active == count.total


def test_classes_of_a_hybrid_with_experts() -> None:
    count = count_parameters(MODELS.load("qwen3-next-80b-a3b")).by_class
    assert count["state"] == 36 * 33_718_464
    assert count["router"] == 48 * 2048 * 512
    assert count["experts"] == 48 * 512 * 3 * 2048 * 512
    assert count["feed_forward"] == 48 * (3 * 2048 * 512 + 2048)


def test_head_projections_by_hand() -> None:
    group = HeadAttention(
        kind="full",
        layers=1,
        q_heads=4,
        kv_heads=2,
        head_dim=8,
        value_head_dim=6,
        qkv_bias=True,
        output_bias=True,
        sinks=True,
        qk_norm=True,
    )
    parts = head_projections(group, 10)
    assert parts.qkv == 10 * (4 * 8 + 2 * 8 + 2 * 6)
    assert parts.output == 4 * 6 * 10
    assert parts.bias == (4 * 8 + 2 * 8 + 2 * 6) + 10 + 4
    assert parts.norm == 2 * 8
    assert parts.matrices == parts.qkv + parts.output


@pytest.mark.parametrize(
    ("flag", "qkv", "norm"),
    [
        ({"output_gate": True}, 10 * (2 * 4 * 8 + 2 * 2 * 8), 0),
        ({"shared_kv_projection": True}, 10 * (4 * 8 + 2 * 8), 0),
        ({"qk_norm": True, "qk_norm_per_head": True}, 10 * (4 * 8 + 2 * 2 * 8), (4 + 2) * 8),
    ],
)
def test_flags_of_head_projections(flag: dict[str, bool], qkv: int, norm: int) -> None:
    group = HeadAttention.model_validate(
        {"kind": "full", "layers": 1, "q_heads": 4, "kv_heads": 2, "head_dim": 8} | flag
    )
    parts = head_projections(group, 10)
    assert (parts.qkv, parts.norm) == (qkv, norm)


def test_latent_projections_of_deepseek_v32_by_hand() -> None:
    (group,) = MODELS.load("deepseek-v3.2").attention
    assert isinstance(group, LatentAttention)
    parts = latent_projections(group, 7168)
    assert (parts.q, parts.q_a, parts.q_b) == (0, 7168 * 1536, 1536 * 128 * 192)
    assert (parts.kv_a, parts.kv_b, parts.output) == (7168 * 576, 512 * 128 * 256, 128 * 128 * 7168)
    assert parts.indexer == 1536 * 64 * 128 + 7168 * 128 + 7168 * 64
    assert parts.norm == 1536 + 512 + 2 * 128


def test_latent_projections_without_a_query_latent() -> None:
    (group,) = MODELS.load("deepseek-v2-lite").attention
    assert isinstance(group, LatentAttention)
    parts = latent_projections(group, 2048)
    assert (parts.q, parts.q_a, parts.q_b, parts.indexer) == (2048 * 16 * 192, 0, 0, 0)


def test_feed_forward_by_hand() -> None:
    dense = DenseFeedForward(kind="dense", layers=1, intermediate_size=20, gated=False, bias=True)
    assert feed_forward_parameters(dense, 10).dense == 2 * 10 * 20 + 20 + 10
    experts = ExpertFeedForward(
        kind="moe",
        layers=1,
        experts=4,
        experts_per_token=2,
        intermediate_size=20,
        shared_intermediate_size=30,
        shared_expert_gate=True,
    )
    parts = feed_forward_parameters(experts, 10)
    assert (parts.expert, parts.shared, parts.router, parts.dense) == (600, 3 * 10 * 30 + 10, 40, 0)
