"""All-reduces inside a step: priced by the device's calibration, within a node only, messages included."""

import pytest

from kvwall.hardware.calibration import KERNEL_CALIBRATIONS
from kvwall.hardware.device import DEVICES
from kvwall.simulator.answers.explain import explain
from kvwall.simulator.kernel_time.collectives import COLLECTIVES
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.kernel_time.points import Points


def _all_reduces(on: str, calibration: str = "auto", tp: int | None = None) -> list[tuple[str, float]]:
    answer = explain("llama-3.1-70b", on=on, tp=tp, weights="fp8", batch=32, context=2048, calibration=calibration)
    return [(t.reference, t.charged_s) for t in answer.terms if t.operator.startswith("all-reduce after attention")]


def test_all_reduce_of_a_step_is_the_calibrated_kernel_once_a_layer() -> None:
    """80 layers each sum 32 rows of 8192 16-bit numbers, 524,288 bytes, over four ranks."""
    fit = KERNEL_CALIBRATIONS.load("h100-sxm5-80gb.vllm.collectives").fits["all_reduce/custom-switch"]
    points = Points(ranks=4.0, message_bytes=524_288.0)
    one = COLLECTIVES["all_reduce/custom-switch"].seconds(points, fit.parameters, machine_of(DEVICES.load("h100")))
    priced = _all_reduces("h100:4")
    assert sum(seconds for _, seconds in priced) == pytest.approx(80 * float(one), rel=1e-9)
    assert any("h100-sxm5-80gb.vllm.collectives" in reference for reference, _ in priced)


def test_class_defaults_charge_bytes_and_messages() -> None:
    references = " ".join(reference for reference, _ in _all_reduces("h100:4", "none"))
    assert "alpha-beta" in references
    assert "collectives" not in references


def test_between_nodes_no_fit_stands_in() -> None:
    assert not any("collectives" in reference for reference, _ in _all_reduces("h100:16", tp=16))


def test_a_ring_over_the_host_is_as_slow_as_four_measured_cards() -> None:
    """Four A100 PCIe cards: 6 messages of 7.8 us and a start of 6 us, within 5 % of the fit for a small vector."""
    fit = KERNEL_CALIBRATIONS.load("a100-pcie-80gb.nccl.collectives").fits["all_reduce/nccl-host"]
    points = Points(ranks=4.0, message_bytes=4096.0)
    machine = machine_of(DEVICES.load("a100-pcie-80gb"))
    fitted = float(COLLECTIVES["all_reduce/nccl-host"].seconds(points, fit.parameters, machine))
    assert pytest.approx(fitted, rel=0.05) == 6 * 7.8e-6 + 6e-6
