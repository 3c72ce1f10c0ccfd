"""All families of kernel models, and which of them each row belongs to."""

from __future__ import annotations

import pkgutil
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import kvwall.simulator.kernel_time as kernel_time_folder
from kvwall.hardware.device import DEVICES, Device
from kvwall.simulator.kernel_time import attention
from kvwall.simulator.kernel_time.collectives import collective_family
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.gemm_families import gemm_family
from kvwall.simulator.kernel_time.points import Points, Rows
from kvwall.simulator.kernel_time.quantize import quantise_family
from kvwall.simulator.kernel_time.roofline import shaped_family, stated_family
from kvwall.simulator.predicting.machines import Reach
from kvwall.simulator.predicting.names import KERNELS, framework_of, operand

if TYPE_CHECKING:
    from kvwall.simulator.predicting.prediction import Kernel

#: Formats of a cache that the planned attention models know.
_CACHE_FORMATS = ("bf16", "fp16", "fp8", "fp8_block", "int8")

#: Kernels that only the roofline serves, from what the row states of them.
_ROOFLINE = ("memory_copy", "launch", "sparse_decode", "lowrank_decode", "rematerialize", "evict")


@cache
def families() -> dict[str, Family]:
    """Every family by name: what the modules of ``simulator/kernel_time`` hold in a tuple ``FAMILIES`` or alone."""
    found: dict[str, Family] = {}
    for module in pkgutil.iter_modules(kernel_time_folder.__path__):
        loaded = vars(import_module(f"{kernel_time_folder.__name__}.{module.name}"))
        alone = [value for value in loaded.values() if isinstance(value, Family)]
        found |= {family.name: family for family in (*loaded.get("FAMILIES", ()), *alone)}
    return found


def family_rows(kernel: Kernel, points: Points, reach: Reach) -> dict[str, Rows]:
    """The rows of each family among ``points``: all as they are where one family serves them."""
    names = family_names(kernel, points, reach)
    found = dict.fromkeys(names.reshape(-1).tolist())
    if len(found) == 1:
        return dict.fromkeys(found, ...)
    each = np.broadcast_to(names, points.shape).reshape(-1)
    return {name: np.flatnonzero(each == name) for name in found}


def family_names(kernel: Kernel, points: Points, reach: Reach) -> NDArray[np.str_]:
    """The family of each point, or one for all; empty where no kernel model fits."""
    device, framework = DEVICES.load(kernel.device), framework_of(kernel.framework)
    if kernel.kernel in _ROOFLINE or (kernel.kernel == "host_gather" and device.is_processor):
        return np.asarray(stated_family(kernel.kernel, kernel.dtype, kernel.kv_dtype))
    stated = np.asarray(points.moved_bytes) > 0
    if np.any(stated) and kernel.kernel in ("decode_attention", "quantize"):
        plain = family_names(kernel, replace(points, moved_bytes=0.0, flops=0.0), reach)
        return np.where(stated, stated_family(kernel.kernel, kernel.dtype, kernel.kv_dtype), plain)
    if _on_roofline(kernel, device):
        return np.asarray(shaped_family(kernel.kernel, kernel.dtype))
    if KERNELS[kernel.kernel] == "attention":
        if kernel.kv_dtype not in _CACHE_FORMATS:
            return np.asarray("")
        dtype, cache = operand(kernel.dtype), operand(kernel.kv_dtype)
        return attention.family_for(kernel.kernel, device, framework, dtype, cache, points)
    return np.asarray(_one_name(kernel, device, framework, reach))


def _on_roofline(kernel: Kernel, device: Device) -> bool:
    """Whether nothing is known of how the kernel is planned but its shape tells its work.

    A processor has neither thread blocks nor tiles of a GPU's library, and no library plans attention in fp32.
    """
    if KERNELS[kernel.kernel] == "attention":
        return kernel.kv_dtype == kernel.dtype and (device.is_processor or kernel.dtype == "fp32")
    return kernel.kernel == "gemm" and device.is_processor and shaped_family("gemm", kernel.dtype) != ""


def _one_name(kernel: Kernel, device: Device, framework: str, reach: Reach) -> str:
    """The family of a kernel whose shape chooses nothing."""
    kind, source = KERNELS[kernel.kernel], kernel.source.lower()
    if kind == "gemm":
        return gemm_family(device, framework, kernel.dtype, kernel.source).name
    if kind == "collective":
        if reach == "network":
            return ""
        link = device.scale_up
        return collective_family(
            kernel.kernel,
            "trtllm" if source == "trtllm" else framework,
            graph="eager" not in source,
            switch_adds=reach == "pair" and device.sums_in_switch,
            over_host=reach == "host" or link is None,
        ).name
    if kind == "elementwise":
        return quantise_family(_quantise_pass(kernel.spelled, framework)).name
    return "copy/gather" if kernel.kernel == "host_gather" else "copy/host"


def _quantise_pass(spelled: str, framework: str) -> str:
    """Which pass a table means: finding one scale, applying it, or both at once for each token."""
    if "compute_scale" in spelled:
        return "scale"
    # SGLang's kernel of that name finds the scales as well.
    return "apply" if "scale_matrix" in spelled and framework != "sglang" else "per-token"
