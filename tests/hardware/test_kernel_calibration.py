"""Documents of kernel fits: what is refused, and how several files of one device and framework are gathered."""

from __future__ import annotations

import copy

import pytest

from kvwall.hardware.calibration import KERNEL_CALIBRATIONS, KernelCalibration, kernel_fits
from kvwall.hardware.device import DEVICES
from kvwall.hardware.document import validate_mapping
from kvwall.hardware.errors import InputError

FIT = {
    "family": "decode/x",
    "parameters": {"a": 1.5, "b": 2.0},
    "log_covariance": [[1.0, 0.0], [0.0, 1.0]],
    "residual": {"below 10 us": 0.1},
    "n": 3,
    "cross_validated": {"median": 0.02, "p90": 0.1},
    "points": "somewhere",
    "date": "2026-01-01",
}
FILE = {"name": "d.f", "device": "d", "framework": "f", "versions": {}, "source": "s", "fits": {"decode/x": FIT}}


def refusal(change) -> str:
    data = copy.deepcopy(FILE)
    change(data)
    with pytest.raises(InputError) as error:
        validate_mapping(data, KernelCalibration, "d.f.yaml")
    return str(error.value)


def test_a_fit_is_read():
    fit = validate_mapping(FILE, KernelCalibration, "d.f.yaml").fits["decode/x"]
    assert (fit.parameters, fit.cross_validated.bias, fit.comment) == ({"a": 1.5, "b": 2.0}, 0.0, "")


def test_a_covariance_of_another_size_is_refused():
    message = refusal(lambda data: data["fits"]["decode/x"].update(log_covariance=[[1.0]]))
    assert message == "d.f.yaml: fits.decode/x: log_covariance is not 2 x 2, one row and column per parameter"


def test_a_parameter_of_zero_is_refused():
    message = refusal(lambda data: data["fits"]["decode/x"]["parameters"].update(a=0.0))
    assert message == "d.f.yaml: fits.decode/x: parameters must be above 0"


def test_a_fit_under_another_name_is_refused():
    message = refusal(lambda data: data.update(fits={"decode/y": FIT}))
    assert message == "d.f.yaml: the fit 'decode/y' is of the family 'decode/x'"


def test_every_file_is_named_after_a_known_device_and_its_framework():
    for name, calibration in KERNEL_CALIBRATIONS.all().items():
        assert calibration.device in DEVICES.names
        assert name.startswith(f"{calibration.device}.{calibration.framework}")
        assert calibration.name == name


def test_fits_of_a_device_and_framework_are_gathered_and_others_are_not():
    vllm, trtllm = kernel_fits("h100-sxm5-80gb", "vllm"), kernel_fits("h100-sxm5-80gb", "trtllm")
    assert {"decode/fa3-bf16", "prefill/fa3-fp8"} <= set(vllm)
    assert "decode/mmha-bf16" in trtllm
    assert "decode/mmha-bf16" not in vllm
    assert kernel_fits("h100-sxm5-80gb", "nobody") == {}
