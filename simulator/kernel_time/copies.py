"""Copies between device and host memory: a fixed latency, then the link's payload rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kvwall.hardware.device import Device
from kvwall.hardware.errors import InputError
from kvwall.simulator.kernel_time.common import MICRO, Parameters, as_array, microseconds, ratio
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.machine import Machine, machine_of
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.traffic import Array

LATENCY = microseconds("launch_us", "start of a copy that is queued on a stream", 1, 60, 10)
REACHED = ratio("link_fraction", "part of the link's payload rate that a long copy reaches", 0.3, 1.0, 0.8)


def copy_s(points: Points, p: Parameters, machine: Machine) -> Array:
    """Seconds of one copy of ``message_bytes`` each over the machine's link; nothing to copy takes no time."""
    moved = as_array(points.message_bytes)
    seconds = p["launch_us"] * MICRO + moved / (p["link_fraction"] * machine.link_bytes_per_s)
    return np.where(moved > 0, seconds, 0.0)


def bound_s(points: Points, machine: Machine) -> Array:
    """The data sheet's bound: the bytes at the link's rate."""
    return as_array(as_array(points.message_bytes) / machine.link_bytes_per_s)


def host_link_machine(device: Device) -> Machine:
    """``device`` as a copy to or from the host sees it: its link is the host link.

    :raises InputError: the data sheet has no host link
    """
    if device.host_link is None:
        raise InputError(f"device {device.name!r} has no host_link, which a copy to the host needs")
    return replace(machine_of(device), link_bytes_per_s=device.host_link.bandwidth_bytes_per_s)


#: Copies over the host link. Published: 12.35 of 15.75 GB/s on a V100 over PCIe 3 (gpu-benches, cuda-memcpy), 359 and
#: 377 of 450 GB/s in and out over NVLink-C2C (ml-engineering, nvbandwidth).
HOST_COPY = Family(
    name="copy/host",
    kernel="host_copy",
    parameters=(LATENCY, REACHED),
    seconds=copy_s,
    ideal_seconds=bound_s,
    reference="latency and bandwidth; gpu-benches, cuda-memcpy",
)


def gather_s(points: Points, p: Parameters, machine: Machine) -> Array:
    """Seconds to bring scattered rows, ``moved_bytes`` in all, over the machine's link."""
    return copy_s(Points(message_bytes=points.moved_bytes), p, machine)


def gather_bound_s(points: Points, machine: Machine) -> Array:
    """The data sheet's bound: the rows at the link's rate."""
    return bound_s(Points(message_bytes=points.moved_bytes), machine)


#: Scattered rows from host memory: read over the link, or gathered by the host and copied.
HOST_GATHER = Family(
    name="copy/gather",
    kernel="host_gather",
    parameters=(LATENCY, replace(REACHED, low=0.01, default=0.4)),
    seconds=gather_s,
    ideal_seconds=gather_bound_s,
    reference="latency and bandwidth",
)

FAMILIES: tuple[Family, ...] = (HOST_COPY, HOST_GATHER)
