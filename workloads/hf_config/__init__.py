"""Architectures from the config.json of a Hugging Face repository; what is not understood is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import ValidationError

from kvwall.hardware.document import explain_validation, parse_mapping, read_text, validate_mapping
from kvwall.hardware.errors import InputError, suggestion
from kvwall.workloads.hf_config import hybrid, latent, mixture, older, plain
from kvwall.workloads.hf_config.groups import Fields
from kvwall.workloads.hf_config.reader import Config
from kvwall.workloads.model_spec import ExtraParameters, ModelSpec

#: Readers by ``model_type``.
FAMILIES: Mapping[str, Callable[[Config], Fields]] = {
    **plain.FAMILIES,
    **mixture.FAMILIES,
    **latent.FAMILIES,
    **hybrid.FAMILIES,
    **older.FAMILIES,
}

_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
_QUANTISED_DTYPES = {"fp8": "fp8", "mxfp4": "mxfp4"}


def read_hf_config(path: str | Path, name: str | None = None) -> ModelSpec:
    """The architecture that a Hugging Face config.json describes.

    :param path: a config.json, or the folder that holds one
    :param name: what to call the model; else what the file calls itself, else the folder's name
    :raises InputError: no file, not JSON, an unknown ``model_type``, a missing or impossible value, or a key that
        changes the cache or the weights and is not understood; names the file, the key and the value
    """
    file = Path(path)
    if file.is_dir():
        file = file / "config.json"
        if not file.is_file():
            raise InputError(f"{path}: the folder has no config.json")
    where = str(file)
    outer = Config(parse_mapping(read_text(file), where), where)
    return _assemble(outer, name or _own_name(outer, file))


def _own_name(config: Config, file: Path) -> str:
    stated = config.value("_name_or_path")
    if isinstance(stated, str) and stated and not stated.startswith((".", "/")):
        return stated
    return file.resolve().parent.name if file.name == "config.json" else file.stem


def _assemble(outer: Config, name: str) -> ModelSpec:
    config = outer.section("text_config") or outer
    model_type = _model_type(outer, config)
    try:
        fields = FAMILIES[model_type](config)
        vision = _vision_tower(outer)
    except ValidationError as error:
        raise InputError(f"{outer.where}: {explain_validation(error, ModelSpec)}") from None
    config.refuse_overlooked(model_type)
    dtype, notes = _dtype(outer, config)
    if vision:
        notes += ("the vision tower is outside the decoder: its size is an estimate, its cost per step is not counted",)
    fields = fields | {"notes": (*fields.get("notes", ()), *notes), "extra": vision}
    provenance = {"name": name, "hf_id": name, "source": f"config.json ({outer.where})", "dtype": dtype}
    return validate_mapping(fields | provenance, ModelSpec, outer.where)


def _model_type(outer: Config, config: Config) -> str:
    """The family of the decoder: of the section ``text_config`` if there is one."""
    stated = config.text("model_type") or outer.text("model_type")
    if stated is None:
        raise InputError(f"{outer.where}: missing key 'model_type'")
    for model_type in (stated, f"{stated}_text"):
        if model_type in FAMILIES:
            return model_type
    allowed = ", ".join(sorted(FAMILIES))
    raise config.error("model_type", f"unknown {stated!r}{suggestion(stated, FAMILIES)} (allowed: {allowed})")


def _vision_tower(outer: Config) -> ExtraParameters | None:
    """Parameters of a vision tower: ``L*(4*D^2 + m*D*F)``, without patches, positions and projector.

    ``m`` is 3 where the activation is that of a gated network, else 2.
    """
    vision = outer.section("vision_config")
    if vision is None:
        return None
    layers = vision.optional_count("num_hidden_layers", "depth", "vt_num_hidden_layers")
    width = vision.optional_count("vt_hidden_size", "hidden_size", "embed_dim")
    if layers is None or width is None:
        return ExtraParameters(count=0, what="vision tower of unknown size")
    inner = vision.optional_count("intermediate_size", "vt_intermediate_size") or 4 * width
    matrices = 3 if vision.value("hidden_act") == "silu" else 2
    count = layers * (4 * width * width + matrices * width * inner)
    return ExtraParameters(count=count, what="vision tower, an estimate")


def _dtype(outer: Config, config: Config) -> tuple[str, tuple[str, ...]]:
    """Dtype of the weights, and a note when they are quantised."""
    stated = config.first("torch_dtype", "dtype")[1] or outer.first("torch_dtype", "dtype")[1] or "bfloat16"
    dtype = _DTYPES.get(str(stated), "bf16")
    quantised = outer.section("quantization_config") or config.section("quantization_config")
    if quantised is None:
        return dtype, ()
    method = quantised.text("quant_method") or "an unnamed method"
    bits = quantised.optional_count("bits")
    note = f"the checkpoint's weights are quantised by {method}{f' to {bits} bits' if bits else ''}"
    return _QUANTISED_DTYPES.get(method, dtype), (note,)
