"""What follows from a document without a question being asked: shown beside it, never stored in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from kvwall.hardware.device import Device
from kvwall.hardware.engine import Engine
from kvwall.hardware.engine_version import versions
from kvwall.hardware.system import NODES
from kvwall.simulator.answers.model_figures import attention_pattern, cached_bytes
from kvwall.workloads.model_spec import ModelSpec
from kvwall.workloads.parameters import count_parameters
from kvwall.workloads.weight_format import TensorClass, WeightFormat


def device_figures(name: str, device: Device) -> dict[str, Any]:
    """Ridge points (dense peak over memory bandwidth) and the node that the device usually sits in."""
    bandwidth = device.hbm.bandwidth_bytes_per_s
    dtype = device.matrix_dtype("bf16")
    ridges = {f"ridge_{dtype}_flops_per_byte": device.matrix_flops_per_s(dtype) / bandwidth}
    if device.matrix_peaks.fp8:
        ridges["ridge_fp8_flops_per_byte"] = device.matrix_peaks.fp8 / bandwidth
    usual = next((node for node, made in NODES.all().items() if name in made.devices), "server")
    return {**ridges, "native_fp8": device.native_fp8, "usual_system": usual}


def model_figures(name: str, model: ModelSpec) -> dict[str, Any]:
    """Parameters by class against the published count, and the cache of one sequence in 16 bits."""
    count, cached = count_parameters(model), cached_bytes(model)
    published = model.published.total_parameters if model.published else None
    return {
        "attention": attention_pattern(model),
        "parameters": count.total,
        "active_parameters": count.active,
        "parameters_by_class": {key: value for key, value in count.by_class.items() if value},
        "extra_parameters": count.extra,
        "published_parameters": published,
        "parameters_over_published": count.total / published if published else None,
        "kv_bytes_per_token": cached.per_token,
        "index_bytes_per_token": model.index_bytes_per_token,
        "window_bytes_per_sequence": cached.windows,
        "state_bytes_per_sequence": cached.state,
    }


def weight_figures(name: str, made: WeightFormat) -> dict[str, Any]:
    """Stored bits of every tensor class."""
    return {"bits_by_class": {tensor: made.bits(tensor) for tensor in get_args(TensorClass)}}


def engine_figures(name: str, engine: Engine) -> dict[str, Any]:
    """The versions a profile covers, in words."""
    return {"versions": versions(engine)}


#: Derived figures by the plural of a kind; the other kinds have none.
DERIVED: dict[str, Callable[[str, Any], dict[str, Any]]] = {
    "devices": device_figures,
    "models": model_figures,
    "weights": weight_figures,
    "engines": engine_figures,
}
