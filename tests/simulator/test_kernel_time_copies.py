"""Copies to and from the host: latency and rate of the host link."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import InputError
from kvwall.simulator.kernel_time.copies import HOST_COPY, host_link_machine
from kvwall.simulator.kernel_time.points import Points

PARAMETERS = {parameter.name: parameter.default for parameter in HOST_COPY.parameters}


def test_a_long_copy_runs_at_the_rate_of_the_host_link() -> None:
    # gpu-benches, cuda-memcpy: 12.35 GB/s over PCIe 3; 10 us and 0.8 x 15.754 GB/s are within 3 %.
    machine = replace(host_link_machine(DEVICES.load("h100-sxm5-80gb")), link_bytes_per_s=15.754e9)
    seconds = float(HOST_COPY.seconds(Points(message_bytes=1e9), PARAMETERS, machine))
    assert 1e9 / seconds == pytest.approx(12.35e9, rel=0.03)


def test_the_link_is_that_to_the_host() -> None:
    machine = host_link_machine(DEVICES.load("h100-sxm5-80gb"))
    assert machine.link_bytes_per_s == pytest.approx(63e9, rel=0.01)


def test_latency_is_paid_once_for_each_copy_and_nothing_for_none() -> None:
    machine = host_link_machine(DEVICES.load("a100-sxm4-80gb"))
    sizes = np.array([0.0, 1.0, 1e6, 2e6])
    seconds = HOST_COPY.seconds(Points(message_bytes=sizes), PARAMETERS, machine)
    assert seconds[0] == 0.0
    assert seconds[1] == pytest.approx(10e-6, rel=1e-3)
    assert seconds[3] - seconds[2] == pytest.approx(1e6 / (0.8 * machine.link_bytes_per_s))
    assert float(HOST_COPY.seconds(Points(message_bytes=2e6), PARAMETERS, machine)) == pytest.approx(seconds[3])


def test_no_copy_beats_the_link() -> None:
    machine = host_link_machine(DEVICES.load("a100-sxm4-80gb"))
    best = {
        parameter.name: parameter.high if "fraction" in parameter.name else 1.0 for parameter in HOST_COPY.parameters
    }
    points = Points(message_bytes=2.0 ** np.arange(0, 34))
    assert np.all(HOST_COPY.seconds(points, best, machine) >= HOST_COPY.ideal_seconds(points, machine))


def test_a_device_without_a_host_link_is_refused() -> None:
    device = DEVICES.load("h100-sxm5-80gb").model_copy(update={"host_link": None})
    with pytest.raises(InputError) as error:
        host_link_machine(device)
    assert str(error.value) == f"device {device.name!r} has no host_link, which a copy to the host needs"
