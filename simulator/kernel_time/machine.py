"""What a kernel model needs of a data sheet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from kvwall.hardware.device import Device
from kvwall.hardware.dtype import Dtype

#: Where a data sheet says nothing of the last-level cache.
_DEFAULT_L2_BYTES = 6e6
_DEFAULT_SRAM_BYTES = 100 * 1024.0


@dataclass(frozen=True)
class Machine:
    """One device as a kernel sees it, base SI.

    :ivar bandwidth_bytes_per_s: of the device's memory
    :ivar matrix_flops_per_s: dense peak of the matrix unit per operand dtype, where it runs (fallbacks resolved)
    :ivar units: compute units (SM, CU)
    :ivar clock_hz: clock of the printed peak
    :ivar link_bytes_per_s: one-way bandwidth to a neighbour in the node
    """

    bandwidth_bytes_per_s: float
    matrix_flops_per_s: Mapping[Dtype, float]
    vector_flops_per_s: float
    units: int
    clock_hz: float
    l2_bytes: float
    sram_per_unit_bytes: float
    link_bytes_per_s: float


def machine_of(device: Device) -> Machine:
    """The machine that ``device`` describes."""
    link = device.scale_up or device.host_link
    return Machine(
        bandwidth_bytes_per_s=device.hbm.bandwidth_bytes_per_s,
        matrix_flops_per_s={dtype: device.matrix_flops_per_s(dtype) for dtype in get_args(Dtype)},
        vector_flops_per_s=device.vector_flops_per_s,
        units=device.units.count,
        clock_hz=device.units.matrix_clock_hz or device.units.boost_clock_hz or 1.5e9,
        l2_bytes=device.l2.capacity_bytes if device.l2 else _DEFAULT_L2_BYTES,
        sram_per_unit_bytes=device.units.sram_per_unit_bytes or _DEFAULT_SRAM_BYTES,
        link_bytes_per_s=link.bandwidth_bytes_per_s if link else device.hbm.bandwidth_bytes_per_s,
    )
