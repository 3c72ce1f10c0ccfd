"""One argument names a model: by library name, id, alias, file or folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvwall.hardware.errors import InputError, UnknownNameError
from kvwall.workloads.model_lookup import find_model
from kvwall.workloads.model_spec import MODELS

CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "max_position_embeddings": 256,
}


@pytest.mark.parametrize("text", ["llama-3.1-8b", "Llama-3.1-8B", "meta-llama/Llama-3.1-8B-Instruct", "LLAMA_3.1_8B"])
def test_names_of_a_shipped_model(text: str) -> None:
    name, spec = find_model(text)
    assert (name, spec.hf_id) == ("llama-3.1-8b", "meta-llama/Llama-3.1-8B")


@pytest.mark.parametrize("end", ["", "config.json"])
def test_paths_of_a_config(end: str, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    name, spec = find_model(str(folder / end))
    assert (name, spec.layers) == ("tiny", 2)


def test_a_folder_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "llama-3.1-8b").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model("tiny")[0] == "tiny"
    assert find_model("llama-3.1-8b")[1].layers == 32


@pytest.mark.parametrize("end", ["yaml", "json"])
def test_a_description_of_kvwall_in_a_file(end: str, tmp_path: Path) -> None:
    path = tmp_path / f"mine.{end}"
    path.write_text(MODELS.load("gpt2").model_copy(update={"name": "mine"}).model_dump_json())
    name, spec = find_model(str(path))
    assert (name, spec.learned_positions) == ("mine", 1024)


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        find_model("lama-3.1-8b")
    assert str(caught.value) == "unknown model 'lama-3.1-8b'; did you mean 'llama-3.1-8b'?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing/config.json", "missing/config.json: cannot be read (No such file or directory)"),
        ("  ", "model: is empty; give a name, a Hugging Face id or a path"),
    ],
)
def test_what_cannot_be_found(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        find_model(text)
    assert str(caught.value) == message


def test_a_name_reads_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    original = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        opened.append(path.name)
        return original(path)

    MODELS._loaded.clear()
    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    find_model("qwen/qwen3-8b")
    assert opened == ["qwen3-8b.yaml"]
