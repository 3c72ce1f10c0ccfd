"""One way to name a model: a shipped name, an alias, a Hugging Face id, or a path."""

from __future__ import annotations

import os
from pathlib import Path

from kvwall.hardware.document import parse_mapping, read_text, validate_mapping
from kvwall.hardware.errors import InputError
from kvwall.workloads.hf_config import read_hf_config
from kvwall.workloads.model_spec import MODELS, ModelSpec

_FILES = (".json", ".yaml", ".yml")


def find_model(text: str) -> tuple[str, ModelSpec]:
    """The model that ``text`` means, with the name to show for it.

    :param text: a name of the library, a Hugging Face id or another alias of a shipped model; or the path of a
        Hugging Face config.json, of a folder that holds one, or of a model description of kvwall (YAML or JSON)
    :raises InputError: an unknown name (names the nearest one), or a file that cannot be read or understood
    """
    if not text.strip():
        raise InputError("model: is empty; give a name, a Hugging Face id or a path")
    if _is_path(text):
        spec = _read(Path(text))
        return spec.name, spec
    name = MODELS.resolve(text)
    return name, MODELS.load(name)


def _is_path(text: str) -> bool:
    """A file by its ending, or a folder on disk: a bare word is a path only if no shipped model has that name."""
    if text.endswith(_FILES):
        return True
    try:
        if not Path(text).exists():
            return False
    except (OSError, ValueError):  # too long for a path, or with a null byte
        return False
    return "/" in text or "\\" in text or text not in MODELS.names


def _read(path: Path) -> ModelSpec:
    if os.path.isdir(path):  # not path.is_dir(), which raises where a path is too long
        return read_hf_config(path)
    data = parse_mapping(read_text(path), str(path))
    if "attention" in data and "model_type" not in data:
        return validate_mapping(data, ModelSpec, str(path))
    return read_hf_config(path)
