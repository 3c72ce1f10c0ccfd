"""What a start-up log tells about the question: model, device, split, engine, flags and formats."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from kvwall.hardware.device import DEVICES
from kvwall.hardware.engine_version import find_engine
from kvwall.hardware.errors import InputError, UnknownNameError, canonical
from kvwall.hardware.library import split_count
from kvwall.simulator.engine_logs import EngineLog
from kvwall.simulator.inquiry import Inquiry
from kvwall.simulator.reconciling.version import told_version
from kvwall.simulator.stack import scheme_class
from kvwall.workloads.model_lookup import find_model
from kvwall.workloads.model_spec import MODELS
from kvwall.workloads.weight_format import WEIGHTS

_GIB = 2.0**30
#: Memory that a driver and a framework may hide from the log of a device.
_HIDDEN_BYTES = 1.0 * _GIB

#: Words that a checkpoint adds to the name of its architecture.
_DECORATION = re.compile(
    r"instruct|chat|it|hf|base|thinking|fp8|awq|gptq|int[48]|nvfp4|fp4|mxfp4|bnb|[48]bit|w\d+a\d+|bf16|fp16|"
    r"dynamic|quantized|unsloth|mtp|\d{4}|v\d(?:\.\d)?|model",
    re.IGNORECASE,
)
#: How a checkpoint's name or a quantisation flag says its weight format.
_FORMATS = (
    ("nvfp4", "nvfp4"),
    ("modelopt_fp4", "nvfp4"),
    ("mxfp4", "mxfp4"),
    ("fp8", "fp8"),
    ("awq", "int4-g128"),
    ("gptq-int8", "int8-weight-only"),
    ("gptq", "int4-g128"),
    ("bnb", "nf4"),
    ("bitsandbytes", "nf4"),
    ("w8a8", "int8"),
    ("w4a16", "int4-g128"),
    ("int4", "int4-g128"),
)
#: Cache formats as engines name them that are 16 bits, or whatever the model has.
_SIXTEEN_BITS = frozenset({"auto", "bfloat16", "bf16", "float16", "fp16", "half", "f16"})

#: Fields of an inquiry that a log's flags fill, with the flag's name.
_FLAGS = {
    "tp": "tp",
    "pp": "pp",
    "dp": "dp",
    "memory_utilization": "memory_utilization",
    "max_batched_tokens": "max_num_batched_tokens",
    "max_num_seqs": "max_num_seqs",
    "max_model_len": "max_model_len",
    "block_size": "block_size",
}
#: Facts that fill them where no flag is printed.
_FACTS = {
    "memory_utilization": "utilization",
    "max_num_seqs": "max_num_seqs",
    "max_model_len": "max_model_len",
    "block_size": "block_size",
}


@dataclass(frozen=True)
class Told:
    """An inquiry completed by a log, and what had to be concluded."""

    inquiry: Inquiry
    notes: tuple[str, ...]


def complete(log: EngineLog, asked: Inquiry) -> Told:
    """``asked`` with everything it leaves open that ``log`` tells; what was asked stands.

    :param asked: an inquiry whose ``model`` and ``on`` may be ``""``
    :raises InputError: neither says which model or which device
    """
    notes: list[str] = []
    model = asked.model or _model(log)
    changes: dict[str, Any] = {"model": model, "engine": log.engine if asked.engine == "vllm" else asked.engine}
    changes |= _numbers(log, asked)
    ranks = _printing_ranks(log)
    is_split_told = {"tp", "pp", "dp"} & set(changes) or asked.tp or asked.pp or asked.dp or _is_counted(asked.on)
    if ranks > 1 and not is_split_told:
        changes["tp"] = ranks
        notes.append(f"tensor parallelism told by the {ranks} ranks that print their weights")
    if asked.engine_version is None:
        version, why = told_version(log)
        changes["engine_version"] = version
        notes += [why] if why else []
    changes["eager"] = asked.eager or log.flags.get("eager") is True
    if asked.scheme == "none" and asked.kv_dtype is None:
        changes["kv_dtype"] = _cache_format(log, notes)
    draft = log.flags.get("draft_tokens")
    if asked.speculative is None and isinstance(draft, int) and draft > 0:
        changes["speculative"] = f"mtp:{draft}"
    if asked.weights is None:
        changes["weights"] = _weights(log, asked.model or log.model or "")
    total = log.lowest("total_memory_bytes")
    if asked.gpu_memory_gib is None and total and total > 0:
        changes["gpu_memory_gib"] = total / _GIB
    found = replace(asked, **changes)
    on, note = _on(log, found)
    return Told(replace(found, on=on), (*notes, *([note] if note else [])))


def _numbers(log: EngineLog, asked: Inquiry) -> dict[str, float]:
    """Numbers of the log's flags, and of its facts where no flag is printed, for what ``asked`` leaves open."""
    found: dict[str, float] = {}
    for name, flag in _FLAGS.items():
        value = log.flags.get(flag)
        if value is None and name in _FACTS:
            value = log.lowest(_FACTS[name])
        if getattr(asked, name) is None and isinstance(value, int | float) and value > 0:
            found[name] = value if name == "memory_utilization" else int(value)
    fraction = log.flags.get("static_fraction", log.flags.get("kv_fraction"))
    if asked.memory_utilization is None and isinstance(fraction, float):
        found["memory_utilization"] = fraction
    if found.get("memory_utilization", 0) > 1:  # impossible, and said so in a line of its own
        found["memory_utilization"] = 1.0
    return found


def _printing_ranks(log: EngineLog) -> int:
    """Ranks that print their weights; data-parallel engines print theirs too, and llama.cpp splits layers."""
    reading = log.readings.get("weights_bytes")
    if reading is None or log.engine == "llamacpp" or reading.lowest.rank.startswith("EngineCore_DP"):
        return 1
    return reading.ranks


def _is_counted(on: str) -> bool:
    """Whether ``on`` says how many devices there are."""
    return bool(on) and (split_count(on, "--on")[1] > 1 or "=" in on or on.endswith(":1"))


def _model(log: EngineLog) -> str:
    """The library's name for the model that the log names.

    :raises InputError: the log names none, or one that no library has
    """
    if log.model is None:
        raise InputError(f"{log.where}: the log does not say which model: give MODEL (kvwall list models)")
    name = log.model.rstrip("/").split("/")[-1]
    words = re.split(r"(?<=[^-_])[-_]", name)
    candidates = [log.model, name]
    while len(words) > 1 and all(_DECORATION.fullmatch(part) for part in words[-1].split(".")):
        words.pop()
        candidates.append("-".join(words))
    known = {canonical(candidate): candidate for candidate in candidates}
    for candidate in known.values():
        try:
            return MODELS.resolve(candidate)
        except UnknownNameError:
            continue
    try:
        find_model(candidates[-1])
    except UnknownNameError as error:
        raise InputError(
            f"{log.where}: the log names the model {log.model!r}: {error}: give MODEL, or the path of its config.json"
        ) from None
    return candidates[-1]


def _weights(log: EngineLog, name: str) -> str | None:
    """The weight format that the quantisation flag or the checkpoint's name says, if any."""
    said = f"{log.flags.get('quantization') or ''} {log.model or ''} {name}".lower()
    found = next((form for word, form in _FORMATS if word in said), None)
    return found if found in WEIGHTS.names else None


def _cache_format(log: EngineLog, notes: list[str]) -> str | None:
    """The scheme that the log's cache format means; ``None`` for 16 bits."""
    said = log.flags.get("kv_dtype")
    if not isinstance(said, str) or said.lower() in _SIXTEEN_BITS:
        return None
    if said.lower().startswith(("fp8", "float8")):
        return "fp8"
    try:
        return scheme_class(said).name
    except UnknownNameError:
        notes.append(f"the cache format {said!r} of the log is no scheme of kvwall: taken as 16 bits")
        return None


def _on(log: EngineLog, inquiry: Inquiry) -> tuple[str, str | None]:
    """The devices, as many as the split needs, and what was concluded about them."""
    ranks = (inquiry.tp or 1) * (inquiry.pp or 1) * (inquiry.dp or 1)
    if inquiry.on:
        return (inquiry.on if _is_counted(inquiry.on) or ranks == 1 else f"{inquiry.on}:{ranks}"), None
    total = log.lowest("total_memory_bytes")
    if total is None:
        raise InputError(f"{log.where}: the log does not say which GPU: add --on DEVICE (kvwall list devices)")
    sizes = {name: device.hbm.capacity_bytes for name, device in DEVICES.all().items() if device.is_card}
    near = [name for name, size in sizes.items() if -0.02 * _GIB <= size - total <= _HIDDEN_BYTES]
    engine = find_engine(inquiry.engine, inquiry.engine_version)
    tiers = {engine.tier(total, DEVICES.load(name).name) for name in near}
    if len(tiers) != 1:
        words = f"could be any of {', '.join(near)}" if near else "is in no library"
        raise InputError(f"{log.where}: a GPU of {total / _GIB:.2f} GiB {words}: add --on DEVICE")
    others = f" (as likely: {', '.join(near[1:])})" if near[1:] else ""
    return f"{near[0]}:{ranks}", f"device told by its {total / _GIB:.2f} GiB: {near[0]}{others}"
