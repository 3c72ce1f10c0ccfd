"""Systems: N devices in nodes, with the host memory, processors, drives and network around them."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from kvwall.hardware.device import DEVICES, Device, Link
from kvwall.hardware.document import Sourced
from kvwall.hardware.errors import InputError, UnknownNameError
from kvwall.hardware.library import Library, is_path, split_count
from kvwall.hardware.offload_rates import OffloadRates
from kvwall.hardware.quantity import BytesPerSecond, FlopsPerSecond, MemoryBytes, Seconds
from kvwall.hardware.serving_constants import CLASS_LAUNCH_S


class ComputingDrives(Sourced):
    """Drives whose own processors read their flash (computational storage), as one host has them."""

    count: int = Field(1, ge=1, le=1000)
    flash_bandwidth_bytes_per_s: BytesPerSecond = Field(alias="flash_bandwidth", description="inside one drive, read")
    compute_flops_per_s: FlopsPerSecond = Field(alias="compute", description="of one drive")
    link_bandwidth_bytes_per_s: BytesPerSecond = Field(alias="link", description="of one drive, one way")


#: What stands where a system file describes no such drives: the only published prototype.
CLASS_DRIVES = ComputingDrives.model_validate(
    {
        "flash_bandwidth": "11.2 GB/s",
        "compute": "650 GFLOP/s",
        "link": "7 GB/s",
        "source": "class default: one drive of Pan et al. 2024, InstInfer, arXiv 2409.04992: 8 channels x 1.4 GB/s, "
        "the roof of its FPGA, PCIe 4.0 x4",
    }
)


class Host(Sourced):
    """One host without its accelerators: DRAM, processors, drives."""

    memory_bytes: MemoryBytes = Field(alias="memory")
    memory_bandwidth_bytes_per_s: BytesPerSecond = Field(alias="memory_bandwidth")
    compute_flops_per_s: FlopsPerSecond = Field(alias="compute")
    ssd_bytes: MemoryBytes = Field(alias="ssd")
    ssd_bandwidth_bytes_per_s: BytesPerSecond = Field(alias="ssd_bandwidth", description="sequential read")
    ssd_latency_s: Seconds = Field(1e-4, alias="ssd_latency")
    drives: ComputingDrives = CLASS_DRIVES
    launch_s: Seconds = Field(CLASS_LAUNCH_S, alias="launch", description="a bare kernel launch on its processors")


class Node(Sourced):
    """A node as it is sold: which device, how many, the host around them and the network between nodes.

    A node is what the devices' scale-up link joins. Usually it has one host; a rack such as NVL72 or a pod of TPUs has
    one host for every few devices, and ``host`` describes one of them.
    """

    name: str
    aliases: tuple[str, ...] = ()
    devices: tuple[str, ...] = Field((), description="device ids that this node is the default for")
    device: str | None = Field(None, description="the device of a machine that can be asked for by its own name")
    devices_per_node: int = Field(ge=1, le=10_000)
    devices_per_host: int | None = Field(None, ge=1, description="devices that share one host; left out: all")
    host: Host
    network: Link = Field(description="between nodes, per device")
    offload_rates: OffloadRates | None = None


NODES = Library("kvwall.hardware", "systems", "system", Node)


@dataclass(frozen=True)
class System:
    """``count`` devices spread evenly over ``nodes`` nodes.

    :param device_id: the name of the device in its library, or the path it was read from
    :param device: the accelerator
    :param count: accelerators in all
    :param nodes: nodes they are spread over
    :param node: what surrounds them
    """

    device_id: str
    device: Device
    count: int
    nodes: int
    node: Node

    @property
    def per_node(self) -> int:
        """Devices in one node."""
        return self.count // self.nodes

    @property
    def devices_per_host(self) -> int:
        """Devices of this system that share one host's DRAM, processors and drives."""
        return min(self.per_node, self.node.devices_per_host or self.per_node)

    @property
    def host_memory_per_device_bytes(self) -> float:
        """Host memory that one device may call its own."""
        return self.node.host.memory_bytes / self.devices_per_host


def default_node(device_id: str) -> Node:
    """The node that names ``device_id``, or the generic server."""
    for name, devices in NODES.lines("devices").items():
        if device_id in devices:
            return NODES.load(name)
    return NODES.load("server")


def _placed(name: str) -> tuple[str, Node]:
    """The device that ``name`` means and the node around it; a machine of its own may be asked for by its name.

    :raises UnknownNameError: neither a device nor such a machine
    """
    if is_path(name):
        return name, default_node(name)
    try:
        device_id = DEVICES.resolve(name)
    except UnknownNameError as unknown:
        try:
            node = NODES.load(NODES.resolve(name))
        except UnknownNameError:
            raise unknown from None
        if node.device is None:
            raise unknown from None
        return node.device, node
    return device_id, default_node(device_id)


def make_system(text: str, nodes: int | None = None) -> System:
    """The system that ``DEVICE[:N]`` describes.

    :param text: a device id, alias or path, or the name of a machine that has one device, with an optional count
    :param nodes: nodes to spread them over; by default as many as the usual node needs
    :raises InputError: unknown device, or N devices cannot be spread evenly
    """
    name, count = split_count(text, "--on")
    device_id, node = _placed(name)
    device = DEVICES.load(device_id)
    if nodes is None:
        nodes = -(-count // node.devices_per_node)
    if nodes < 1 or count % nodes:
        raise InputError(f"--nodes {nodes}: {count} devices cannot be spread evenly over {nodes} nodes")
    return System(device_id, device, count, nodes, node)
