"""Model descriptions: shipped files, KV layout figures, names, and what a description may not say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from kvwall.hardware.document import validate_mapping
from kvwall.hardware.errors import InputError
from kvwall.hardware.library import keep_dots
from kvwall.workloads.model_spec import MODELS, HeadAttention, LatentAttention, LinearState, ModelSpec

FIGURES: dict[str, list[int]] = yaml.safe_load((Path(__file__).parent / "model_figures.yaml").read_text())["figures"]


def test_every_shipped_model_has_figures_and_every_figure_a_model() -> None:
    assert set(MODELS.names) == set(FIGURES)
    assert len(FIGURES) == 132


@pytest.mark.parametrize("name", FIGURES)
def test_kv_layout_of_shipped_models(name: str) -> None:
    model = MODELS.load(name)
    growing, windowed, index, state, _ = FIGURES[name]
    assert 2 * model.growing_values_per_token == growing
    assert 2 * model.windowed_values_per_token == windowed
    assert model.index_bytes_per_token == index
    assert model.state_bytes_per_sequence == state


def test_names_ids_and_aliases_mean_one_model_each() -> None:
    owners = Counter(
        spelling
        for name, model in MODELS.all().items()
        for spelling in {keep_dots(text) for text in (name, model.name, model.hf_id, *model.aliases)}
    )
    assert [spelling for spelling, count in owners.items() if count > 1] == []


def test_the_file_name_is_the_name_in_lower_case() -> None:
    different = {name: model.name for name, model in MODELS.all().items() if model.name.lower() != name}
    assert different == {}


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("DeepSeek-R1-Distill-Llama-70B", "llama-3.1-70b"),
        ("Qwen/Qwen3-235B-A22B-FP8", "qwen3-235b-a22b"),
        ("Qwen/Qwen2.5-32B-Instruct", "qwen2.5-32b"),
        ("openai/gpt-oss-20b", "gpt-oss-20b"),
        ("GPT OSS 20B", "gpt-oss-20b"),
        ("OPT-1.3B", "opt-1.3b"),
        ("facebook/opt_1.3b", "opt-1.3b"),
        ("OPT-13B", "opt-13b"),
        ("llama-31-8b", "llama-3.1-8b"),
    ],
)
def test_aliases(alias: str, name: str) -> None:
    assert MODELS.resolve(alias) == name


def test_gemma_4_e2b_shares_caches_between_layers() -> None:
    groups = MODELS.load("gemma-4-e2b").attention
    assert [
        (group.kind, group.layers, group.cached_layers) for group in groups if isinstance(group, HeadAttention)
    ] == [
        ("full", 7, 3),
        ("sliding", 28, 12),
    ]


def test_a_latent_token_is_the_latent_and_the_rotary_key() -> None:
    (latent,) = MODELS.load("deepseek-v3").attention
    assert isinstance(latent, LatentAttention)
    assert latent.cached_values_per_token == 512 + 64


def test_values_may_be_narrower_than_keys() -> None:
    full = MODELS.load("mimo-v2-flash").attention[0]
    assert isinstance(full, HeadAttention)
    assert full.cached_values_per_token == 4 * (192 + 128)


def test_state_is_recurrent_and_convolution() -> None:
    state = MODELS.load("qwen3-next-80b-a3b").attention[1]
    assert isinstance(state, LinearState)
    assert state.state_bytes == 32 * 128 * 128 * 4 + (2 * 2048 + 4096) * 3 * 2


def _minimal() -> dict[str, object]:
    return {
        "name": "m",
        "hf_id": "m",
        "source": "made up",
        "layers": 2,
        "hidden_size": 8,
        "vocab_size": 16,
        "max_context": 64,
        "attention": [{"kind": "full", "layers": 2, "q_heads": 4, "kv_heads": 2, "head_dim": 4}],
        "feed_forward": [{"kind": "dense", "layers": 2, "intermediate_size": 16}],
    }


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "attention",
            [{"kind": "full", "layers": 2, "q_heads": 4, "kv_heads": 3, "head_dim": 4}],
            "f.yaml: attention.0.full: q_heads 4 is not a multiple of kv_heads 3",
        ),
        (
            "attention",
            [{"kind": "sliding", "layers": 2, "q_heads": 4, "kv_heads": 2, "head_dim": 4}],
            "f.yaml: attention.0.sliding: an attention group of kind 'sliding' needs a window",
        ),
        (
            "attention",
            [{"kind": "full", "layers": 2, "q_heads": 4, "kv_heads": 2, "head_dim": 4, "kv_layers": 3}],
            "f.yaml: attention.0.full: kv_layers 3 exceeds layers 2",
        ),
        (
            "feed_forward",
            [{"kind": "moe", "layers": 2, "experts": 4, "experts_per_token": 8, "intermediate_size": 16}],
            "f.yaml: feed_forward.0.moe: experts_per_token 8 exceeds experts 4",
        ),
        (
            "attention",
            [],
            "f.yaml: attention is empty: a model needs at least one attention group",
        ),
        (
            "layers",
            3,
            "f.yaml: layers is 3, but the attention groups have 2 and the feed-forward groups 2: "
            "expected both equal to layers, or their sum",
        ),
    ],
)
def test_impossible_descriptions_are_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        validate_mapping(_minimal() | {key: value}, ModelSpec, "f.yaml")
    shown = str(caught.value)
    assert shown.partition(" (found")[0] == message


def test_visual_models_make_an_image_scale_by_scale() -> None:
    """1024 pixels take 10,521 tokens in 13 scales (Infinity), 256 pixels 680 in 10 (VAR); keys of Infinity are fp32."""
    for name, tokens, scales, bytes_per_pair in (("infinity-2b", 10521, 13, 6), ("var-d30", 680, 10, 4)):
        model = MODELS.load(name)
        group = model.attention[0]
        assert isinstance(group, HeadAttention)
        assert (sum(model.scales), len(model.scales), model.guidance) == (tokens, scales, 2)
        assert 2 * group.cached_values_per_token == bytes_per_pair * group.kv_heads * group.head_dim
