"""Nodes around the devices, and how N devices spread over them."""

import pytest

from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import InputError, UnknownNameError
from kvwall.hardware.system import NODES, default_node, make_system


def test_each_device_has_exactly_one_usual_node() -> None:
    owners: dict[str, list[str]] = {name: [] for name in DEVICES.names}
    for node_name, node in NODES.all().items():
        for device in node.devices:
            owners[device].append(node_name)
    assert {device: nodes for device, nodes in owners.items() if len(nodes) != 1} == {}


@pytest.mark.parametrize("name", NODES.names)
def test_hosts_and_networks_are_credible(name: str) -> None:
    node = NODES.load(name)
    board = name == "single-board"
    assert (8e9 if board else 30e9) <= node.host.memory_bytes <= 4e12
    assert (1.7e10 if board else 5e10) <= node.host.memory_bandwidth_bytes_per_s <= 1e12
    assert (1e11 if board else 1e12) <= node.host.compute_flops_per_s <= 1e14
    assert node.host.memory_bytes / 4 <= node.host.ssd_bytes <= 1e14
    assert (5e8 if board else 1e9) <= node.host.ssd_bandwidth_bytes_per_s < node.host.memory_bandwidth_bytes_per_s
    assert 1e8 <= node.network.bandwidth_bytes_per_s <= 1e11
    assert 1e-6 <= node.network.latency_s <= 1e-3
    assert min(len(node.source), len(node.host.source), len(node.network.source)) > 5


@pytest.mark.parametrize("name", NODES.names)
def test_a_link_between_devices_is_faster_than_the_network(name: str) -> None:
    node = NODES.load(name)
    for device_id in node.devices:
        link = DEVICES.load(device_id).scale_up
        assert link is None or link.bandwidth_bytes_per_s >= node.network.bandwidth_bytes_per_s


def test_networks_are_bytes_one_way_per_device() -> None:
    assert NODES.load("dgx-a100").network.bandwidth_bytes_per_s == 200e9 / 8
    assert NODES.load("dgx-h100").network.bandwidth_bytes_per_s == 400e9 / 8
    assert NODES.load("aws-g5").network.bandwidth_bytes_per_s == 100e9 / 8 / 8


@pytest.mark.parametrize(
    ("text", "node", "count", "nodes"),
    [
        ("h100", "NVIDIA DGX H100", 1, 1),
        ("h100:8", "NVIDIA DGX H100", 8, 1),
        ("H100 SXM:16", "NVIDIA DGX H100", 16, 2),
        ("gb200:72", "NVIDIA GB200 NVL72 rack", 72, 1),
        ("rtx4090:4", "Workstation of up to four cards", 4, 1),
        ("a10g:8", "AWS g5.48xlarge", 8, 1),
        ("l4", "AWS g6.48xlarge", 1, 1),
        ("mi300x:8", "AMD Instinct eight-way platform", 8, 1),
        ("tpu-v5e:256", "Slice of 256 TPU chips", 256, 1),
    ],
)
def test_devices_fill_their_usual_nodes(text: str, node: str, count: int, nodes: int) -> None:
    system = make_system(text)
    assert (system.node.name, system.count, system.nodes) == (node, count, nodes)
    assert system.per_node == count // nodes


def test_nodes_can_be_chosen() -> None:
    assert make_system("h100:8", nodes=2).per_node == 4


def test_host_memory_is_shared_by_the_devices_of_one_host() -> None:
    assert make_system("h100:8").host_memory_per_device_bytes == 2 * 2**40 / 8
    assert make_system("h100:2").host_memory_per_device_bytes == 2 * 2**40 / 2
    # One Grace with 480 GB serves two GPUs, however many of the rack's 72 are used.
    assert make_system("gb200").host_memory_per_device_bytes == 480e9
    assert make_system("gb200:4").host_memory_per_device_bytes == 240e9
    assert make_system("gb200:72").host_memory_per_device_bytes == 240e9


def test_a_device_of_no_node_gets_the_generic_server() -> None:
    assert default_node("my-own-device.yaml") == NODES.load("server")


@pytest.mark.parametrize(("text", "nodes"), [("h100:3", 2), ("h100:8", 0), ("h100:8", -1), ("h100:9", None)])
def test_devices_that_cannot_be_spread_evenly(text: str, nodes: int | None) -> None:
    with pytest.raises(InputError) as caught:
        make_system(text, nodes)
    count = text.partition(":")[2]
    shown = 2 if nodes is None else nodes
    assert str(caught.value) == f"--nodes {shown}: {count} devices cannot be spread evenly over {shown} nodes"


def test_an_unknown_device() -> None:
    with pytest.raises(UnknownNameError) as caught:
        make_system("h1000:8")
    assert str(caught.value) == "unknown device 'h1000'; did you mean 'h100'?"


@pytest.mark.parametrize(("text", "device", "node"), [
    ("gcp-t4", "t4", "Google Cloud n1 with one T4 (FlexGen)"),
    ("FlexGen", "t4", "Google Cloud n1 with one T4 (FlexGen)"),
    ("instinfer-a6000:2", "rtx-a6000", "A6000 with a computational drive (InstInfer)"),
])  # fmt: skip
def test_a_machine_of_its_own_may_be_asked_for_by_name(text: str, device: str, node: str) -> None:
    system = make_system(text)
    assert (system.device_id, system.node.name) == (device, node)


def test_a_node_without_a_device_of_its_own_is_no_device() -> None:
    with pytest.raises(UnknownNameError, match="unknown device 'workstation'"):
        make_system("workstation")


def test_drives_that_no_file_describes_are_the_published_prototype() -> None:
    assert make_system("h100").node.host.drives.flash_bandwidth_bytes_per_s == 8 * 1.4e9
