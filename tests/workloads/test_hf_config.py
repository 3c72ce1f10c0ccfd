"""Import of config.json: the same architecture as the shipped description, or one line that says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kvwall.hardware.errors import InputError
from kvwall.workloads.hf_config import FAMILIES, read_hf_config
from kvwall.workloads.model_spec import MODELS, HeadAttention, LatentAttention, ModelSpec
from kvwall.workloads.parameters import count_parameters

CONFIGS: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "hf_configs.yaml").read_text())

#: The checkpoint pads the vocabulary by 64 rows that the shipped description leaves out.
PADDED_VOCABULARY = {"gemma-3-12b"}
#: The config does not say that the checkpoint has such layers.
SILENT_ON_MTP = {"qwen3-next-80b-a3b"}


def read(folder: Path, config: dict[str, Any], name: str | None = None) -> ModelSpec:
    (folder / "config.json").write_text(json.dumps(config))
    return read_hf_config(folder, name)


def error_of(folder: Path, config: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        read(folder, config)
    text = str(caught.value)
    assert "\n" not in text
    where = f"{folder / 'config.json'}: "
    assert text.startswith(where)
    return text.removeprefix(where)


@pytest.mark.parametrize("name", CONFIGS)
def test_import_equals_the_shipped_description(name: str, tmp_path: Path) -> None:
    imported, shipped = read(tmp_path, CONFIGS[name]), MODELS.load(name)
    assert imported.attention == shipped.attention
    assert imported.feed_forward == shipped.feed_forward
    same = {"layers", "hidden_size", "max_context", "tied_embeddings", "norm_matrices", "norm_bias", "dtype"}
    same |= set() if name in PADDED_VOCABULARY else {"vocab_size"}
    same |= set() if name in SILENT_ON_MTP else {"mtp_layers"}
    assert imported.model_dump(include=same) == shipped.model_dump(include=same)
    tolerance = 1e-4 if name in PADDED_VOCABULARY else 0.0
    assert count_parameters(imported).decoder == pytest.approx(count_parameters(shipped).decoder, rel=tolerance)


def test_every_reader_is_tried_on_a_real_model() -> None:
    sections = [config.get("text_config", config) for config in CONFIGS.values()]
    tried = {FAMILIES[section["model_type"]] for section in sections}
    untried = {reader.__name__ for reader in FAMILIES.values()} - {reader.__name__ for reader in tried}
    assert untried == {"read_glm4"}


def test_glm4_has_two_more_norms_than_glm(tmp_path: Path) -> None:
    config = CONFIGS["glm-4-9b"]
    more = count_parameters(read(tmp_path, config | {"model_type": "glm4"})).decoder
    assert more - count_parameters(read(tmp_path, config)).decoder == 40 * 2 * 4096


def test_vision_tower_is_estimated_and_noted(tmp_path: Path) -> None:
    spec = read(tmp_path, CONFIGS["qwen2.5-vl-3b"])
    assert spec.extra is not None
    assert spec.extra.count == pytest.approx(669_000_000, rel=0.1)
    assert "vision tower" in " ".join(spec.notes)


def test_a_flat_wrapper_with_unknown_tower(tmp_path: Path) -> None:
    spec = read(tmp_path, CONFIGS["kimi-k2"] | {"model_type": "kimi_k25", "vision_config": {"patch_size": 14}})
    assert spec.extra is not None
    assert spec.extra.what == "vision tower of unknown size"


def test_a_wrapper_ties_the_embedding_of_its_section(tmp_path: Path) -> None:
    config = CONFIGS["qwen3.5-27b"] | {"tie_word_embeddings": True}
    assert read(tmp_path, config).tied_embeddings


def test_quantisation_is_noted(tmp_path: Path) -> None:
    config = CONFIGS["llama-3.1-8b"] | {"quantization_config": {"quant_method": "awq", "bits": 4}}
    spec = read(tmp_path, config)
    assert spec.dtype == "bf16"
    assert spec.notes == ("the checkpoint's weights are quantised by awq to 4 bits",)


def test_qwen2_windows_start_at_max_window_layers(tmp_path: Path) -> None:
    config = CONFIGS["qwen2.5-32b"] | {"use_sliding_window": True, "sliding_window": 8192, "max_window_layers": 48}
    shapes = [(g.kind, g.layers, g.window) for g in read(tmp_path, config).attention if isinstance(g, HeadAttention)]
    assert shapes == [("full", 48, None), ("sliding", 16, 8192)]


def test_layer_types_win_over_the_default_pattern(tmp_path: Path) -> None:
    kinds = ["full_attention"] * 30 + ["sliding_attention"] * 12
    groups = read(tmp_path, CONFIGS["gemma-2-9b"] | {"layer_types": kinds}).attention
    assert [(group.kind, group.layers) for group in groups] == [("full", 30), ("sliding", 12)]


def test_shared_indexers_keep_no_key(tmp_path: Path) -> None:
    kinds = ["full" if index % 4 == 0 else "shared" for index in range(78)]
    (latent,) = read(tmp_path, CONFIGS["glm-5"] | {"indexer_types": kinds, "index_topk_freq": 4}).attention
    assert isinstance(latent, LatentAttention)
    assert latent.indexer is not None
    assert latent.indexer.cache_layers == 20


def test_nemotron_layers_as_words(tmp_path: Path) -> None:
    letters = CONFIGS["nemotron-3-nano-30b-a3b"]["hybrid_override_pattern"]
    words = [{"M": "mamba", "E": "moe", "*": "attention"}[letter] for letter in letters]
    config = CONFIGS["nemotron-3-nano-30b-a3b"] | {"hybrid_override_pattern": None, "layers_block_type": words}
    assert read(tmp_path, config).attention == MODELS.load("nemotron-3-nano-30b-a3b").attention


def test_multi_head_falcon_without_multi_query(tmp_path: Path) -> None:
    (group,) = read(tmp_path, CONFIGS["falcon-7b"] | {"multi_query": False}).attention
    assert isinstance(group, HeadAttention)
    assert group.kv_heads == 71


@pytest.mark.parametrize(
    ("given", "stated", "name"),
    [("mine", "org/theirs", "mine"), (None, "org/theirs", "org/theirs"), (None, "/data/x", "folder")],
)
def test_name(given: str | None, stated: str, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert read(folder, CONFIGS["llama-3.1-8b"] | {"_name_or_path": stated}, given).name == name


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("llama-3.1-8b", {"num_hidden_layers": None}, "missing key 'num_hidden_layers'"),
        ("llama-3.1-8b", {"model_type": None}, "missing key 'model_type'"),
        (
            "llama-3.1-8b",
            {"num_hidden_layers": "32"},
            "num_hidden_layers: '32' is not a whole number from 1 to 100000000",
        ),
        ("gpt2-xl", {"n_layer": 20_000}, "n_layer: 20000 is more than 10000 layers"),
        ("llama-3.1-8b", {"hidden_size": True}, "hidden_size: True is not a whole number from 1 to 100000000"),
        (
            "llama-3.1-8b",
            {"num_key_value_heads": 7},
            "num_attention_heads: 32 is not a multiple of num_key_value_heads 7",
        ),
        (
            "llama-3.1-8b",
            {"num_attention_heads": 24},
            "num_attention_heads: 24 does not divide hidden_size 4096, and there is no head_dim",
        ),
        ("llama-3.1-8b", {"tie_word_embeddings": "no"}, "tie_word_embeddings: 'no' is not true or false"),
        ("llama-3.1-8b", {"sliding_window": 4096}, "sliding_window: 4096 is not understood for the model_type 'llama'"),
        ("llama-3.1-8b", {"num_local_experts": 8}, "num_local_experts: 8 is not understood for the model_type 'llama'"),
        ("deepseek-v3", {"index_topk": 2048}, "index_topk: 2048 is not understood for the model_type 'deepseek_v3'"),
        ("deepseek-v3", {"attention_bias": True}, "attention_bias: biases are not understood for latent attention"),
        (
            "deepseek-v3",
            {"moe_layer_freq": 2},
            "moe_layer_freq: only 1 (experts in every layer after the dense ones) is understood",
        ),
        ("glm-5", {"index_topk_freq": 4}, "index_topk_freq: 4 is not understood for the model_type 'glm_moe_dsa'"),
        (
            "gemma-2-9b",
            {"layer_types": ["sliding_attention", "mamba"]},
            "layer_types[1]: unknown layer kind 'mamba' "
            "(allowed: full_attention, sliding_attention, chunked_attention)",
        ),
        ("gemma-2-9b", {"layer_types": ["full_attention"]}, "layer_types: has 1 entries for 42 layers"),
        ("gemma-2-9b", {"sliding_window": None}, "sliding_window: is missing, but layer_types has sliding_attention"),
        ("qwen3.5-27b", {"text_config": {"model_type": "qwen3_5_text"}}, "missing key 'text_config.num_hidden_layers'"),
        ("qwen3.5-27b", {"text_config": [1]}, "text_config: [1] is not a mapping"),
        ("minimax-m2", {"attn_type_list": [1, 0]}, "attn_type_list: has entries other than 1 (full attention)"),
        (
            "opt-6.7b",
            {"word_embed_proj_dim": 512},
            "word_embed_proj_dim: an embedding narrower than hidden_size 4096 is not understood",
        ),
        (
            "bamba-9b",
            {"mamba_d_head": 32},
            "mamba_n_heads: 128 heads of 32 are not mamba_expand x hidden_size = 8192",
        ),
        (
            "nemotron-3-nano-30b-a3b",
            {"mamba_ssm_cache_dtype": "int8"},
            "mamba_ssm_cache_dtype: unknown dtype 'int8' (allowed: float32, bfloat16, float16)",
        ),
        ("nemotron-3-nano-30b-a3b", {"moe_latent_size": 1024}, None),
    ],
)
def test_what_is_not_understood_is_refused(
    name: str, change: dict[str, Any], message: str | None, tmp_path: Path
) -> None:
    expected = message or "moe_latent_size: 1024 is not understood for the model_type 'nemotron_h'"
    assert error_of(tmp_path, CONFIGS[name] | change) == expected


def test_an_unknown_family_names_the_nearest_one(tmp_path: Path) -> None:
    message = error_of(tmp_path, CONFIGS["llama-3.1-8b"] | {"model_type": "qwen3_mo"})
    assert message.startswith("model_type: unknown 'qwen3_mo'; did you mean 'qwen3_moe'? (allowed: bamba, cohere, ")


def test_a_folder_without_a_config(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_hf_config(tmp_path)
    assert str(caught.value) == f"{tmp_path}: the folder has no config.json"


def test_a_file_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": ')
    with pytest.raises(InputError) as caught:
        read_hf_config(tmp_path)
    assert str(caught.value) == f"{tmp_path / 'config.json'}: line 1: not JSON (Expecting value)"
