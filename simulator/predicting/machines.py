"""The machine a row was measured on: a device, and for collectives the slowest link that its ranks span."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kvwall.hardware.device import DEVICES
from kvwall.hardware.system import default_node
from kvwall.simulator.kernel_time.machine import Machine, machine_of
from kvwall.simulator.predicting.names import is_pairwise

Reach = Literal["device", "pair", "host", "network"]

#: Ranks that a pairwise bridge joins.
_PAIR = 2

#: Cards whose pairs were seen to talk over the host's bus whatever their name says: 5 GB/s in Vidur's send_recv table.
_UNBRIDGED = frozenset({"a40"})


@dataclass(frozen=True)
class Placed:
    """A machine and the link that a collective uses on it.

    :ivar hop_s: latency of a message over that link
    :ivar note: what had to be assumed of the link, empty if nothing
    :ivar network: the link leaves the node
    """

    machine: Machine
    hop_s: float
    note: str = ""
    network: bool = False


def reach_of(
    gpu: str, device_id: str, kernel: str, ranks: NDArray[np.float64], per_node: NDArray[np.float64]
) -> list[Reach]:
    """Which link each row's ranks span: the fast one inside a node, a host's, or the network between nodes."""
    if kernel in ("host_copy", "host_gather"):
        return ["host"] * ranks.size
    crowd = np.where(np.isnan(ranks), _PAIR, ranks)
    outside = per_node < crowd  # an unknown number of devices in a node compares as false
    beyond = np.full(ranks.size, device_id in _UNBRIDGED)
    if is_pairwise(gpu):
        beyond |= crowd > _PAIR
    return ["network" if out else "host" if far else "pair" for out, far in zip(outside, beyond, strict=True)]


@lru_cache(maxsize=256)
def placed(device_id: str, reach: Reach) -> Placed:
    """The machine of ``device_id`` whose link is the one that ``reach`` names."""
    device = DEVICES.load(device_id)
    machine = machine_of(device)
    if reach == "device":
        return Placed(machine, 0.0)
    if reach == "network":
        network = default_node(device_id).network
        note = f"ranks of several nodes: {network.kind} of the usual node"
        return Placed(replace(machine, link_bytes_per_s=network.bandwidth_bytes_per_s), network.latency_s, note, True)
    link = device.scale_up if reach == "pair" and device.scale_up else device.host_link
    if link is None:
        note = "" if device.is_processor else "the device has no link on its data sheet: memory bandwidth taken"
        return Placed(machine, 5e-6, note)
    note = f"ranks talk over {link.kind}" if link is device.host_link and reach != "host" else ""
    if reach == "host" and device.scale_up is not None:
        note = f"over the host link ({link.kind})"
    return Placed(replace(machine, link_bytes_per_s=link.bandwidth_bytes_per_s), link.latency_s, note)


@lru_cache(maxsize=256)
def architecture(device_id: str) -> str:
    """The architecture without the chip: ``Hopper`` of ``Hopper GH100``."""
    return DEVICES.load(device_id).architecture.split()[0]
