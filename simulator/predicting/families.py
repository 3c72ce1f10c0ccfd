"""All families of kernel models, and which of them each row belongs to."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import kvwall.simulator.kernel_time as kernel_time_folder
from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import canonical
from kvwall.simulator.kernel_time import attention
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.names import KERNELS

if TYPE_CHECKING:
    from kvwall.simulator.predicting.prediction import Kernel


@cache
def families() -> dict[str, Family]:
    """Every family by name: the modules of ``simulator/kernel_time`` that hold a tuple ``FAMILIES``."""
    found: dict[str, Family] = {}
    for module in pkgutil.iter_modules(kernel_time_folder.__path__):
        loaded = import_module(f"{kernel_time_folder.__name__}.{module.name}")
        found |= {family.name: family for family in getattr(loaded, "FAMILIES", ())}
    return found


def family_names(kernel: Kernel, points: Points) -> NDArray[np.str_]:
    """The family of each point; empty where no kernel model fits."""
    if KERNELS[kernel.kernel] == "attention":
        device = DEVICES.load(kernel.device)
        framework = canonical(kernel.framework)
        return attention.family_for(kernel.kernel, device, framework, kernel.dtype, kernel.kv_dtype, points)
    return np.full(np.shape(points.batch), "", dtype=np.str_)
