"""``kvwall doctor``: packages, GPUs, data, terminal; no GPU and no optional package is needed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from kvwall.hardware.calibration import CALIBRATIONS, KERNEL_CALIBRATIONS
from kvwall.hardware.device import DEVICES
from kvwall.hardware.engine_calibration import ENGINE_CALIBRATIONS
from kvwall.hardware.errors import InputError
from kvwall.simulator.answers import doctor as doctor_module
from kvwall.simulator.answers import gpus
from kvwall.simulator.answers.gpus import calibrations_of, find_gpus, match_device

REAL_RUN = subprocess.run


@pytest.fixture
def driver(monkeypatch):
    """Put an outcome in the place of ``nvidia-smi``."""

    def answer(outcome):
        def run(command, **keywords):
            if command[0] != "nvidia-smi":
                return REAL_RUN(command, **keywords)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr(gpus.subprocess, "run", run)

    return answer


def printed(text, status=0, error=""):
    return subprocess.CompletedProcess("nvidia-smi", status, text, error)


def test_a_machine_without_a_gpu(run, driver):
    driver(FileNotFoundError())
    status, out, err = run("doctor")
    assert (status, err) == (0, "")
    assert "GPUs: none (nvidia-smi is not installed); planning needs none" in out
    assert f"{len(DEVICES.names)} devices" in out
    assert "all load" in " ".join(out.split())
    answer = json.loads(run("doctor", "--json")[1])
    assert (answer["gpus"], answer["gpus_note"]) == ([], "nvidia-smi is not installed")
    assert answer["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert answer["errors"] == []


@pytest.mark.parametrize(
    ("outcome", "note"),
    [
        (subprocess.TimeoutExpired("nvidia-smi", 10), "nvidia-smi did not answer within 10 s"),
        (PermissionError(13, "Permission denied"), "nvidia-smi cannot be run (Permission denied)"),
        (printed("", 9, "NVIDIA-SMI has failed\nmore"), "nvidia-smi failed: NVIDIA-SMI has failed"),
        (printed("", 6), "nvidia-smi failed: exit status 6"),
        (printed("\n"), "nvidia-smi lists none"),
    ],
)
def test_a_driver_that_does_not_answer(driver, outcome, note):
    driver(outcome)
    assert find_gpus() == ((), note)


def test_gpus_with_their_devices(run, driver):
    driver(printed("NVIDIA H100 80GB HBM3, 81559 MiB, 550.54.15\nNVIDIA Z9, [N/A], 999\n"))
    answer = json.loads(run("doctor", "--json")[1])
    known, unknown = answer["gpus"]
    assert known == {
        "name": "NVIDIA H100 80GB HBM3",
        "memory_bytes": 81559 * 2**20,
        "driver_version": "550.54.15",
        "device": "h100-sxm5-80gb",
        "calibrations": list(calibrations_of("h100-sxm5-80gb")),
        "note": "",
    }
    assert (unknown["device"], unknown["memory_bytes"]) == (None, None)
    assert answer["warnings"] == ["NVIDIA Z9: no device file: --on takes the path of a YAML file"]
    out = run("doctor")[1]
    assert "h100-sxm5-80gb" in out
    assert "warning: NVIDIA Z9: no device file" in out


def test_a_card_with_other_memory_than_its_data_file(driver):
    driver(printed("NVIDIA GeForce RTX 4090, 49140 MiB, 550"))
    (found,), _ = find_gpus()
    assert found.note == "has 48.0 GiB where rtx-4090 has 24.0: give --gpu-memory-gib"


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100-sxm4-80gb"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb"),
        ("NVIDIA H200", "h200-sxm-141gb"),
        ("NVIDIA H100 NVL", "h100-nvl-94gb"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA A10", "a10"),
        ("NVIDIA A10G", "a10g"),
        ("Tesla T4", "t4"),
        ("Tesla V100-SXM2-32GB", "v100-sxm2-32gb"),
        ("NVIDIA GeForce RTX 3090", "rtx-3090"),
        ("NVIDIA GeForce RTX 5090", "rtx-5090"),
        ("NVIDIA GeForce RTX 5070 Laptop GPU", "rtx-5070-laptop"),
        ("NVIDIA RTX A6000", "rtx-a6000"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtx-pro-6000-blackwell-server"),
        ("NVIDIA GB10", "gb10"),
        ("NVIDIA B200", "b200-sxm-180gb"),
        ("NVIDIA", None),
    ],
)
def test_drivers_names_of_devices(name, device):
    assert match_device(name) == device


def test_a_calibration_belongs_to_the_device_it_names(monkeypatch):
    defaults = CALIBRATIONS.load("uncalibrated")
    mine = defaults.model_copy(update={"name": "h100-sxm5-80gb/vllm-fa3", "aliases": ()})
    made = {"uncalibrated": defaults, "mine": mine}

    class Two:
        names = tuple(made)

        def load(self, name):
            return made[name]

    monkeypatch.setattr(gpus, "CALIBRATIONS", Two())
    assert calibrations_of("h100-sxm5-80gb")[0] == "mine"
    assert calibrations_of("h100-pcie-80gb") == ()


def test_fits_of_kernels_are_calibrations_of_their_device(run, driver):
    assert "h100-sxm5-80gb.vllm" in calibrations_of("h100-sxm5-80gb")
    assert calibrations_of("mi300x") == ()
    driver(FileNotFoundError())
    _, out, _ = run("doctor", "--json")
    kinds = (CALIBRATIONS, KERNEL_CALIBRATIONS, ENGINE_CALIBRATIONS)
    assert json.loads(out)["counts"]["calibrations"] == sum(len(library.names) for library in kinds)


def test_optional_packages_with_the_command_that_installs_them(run, driver, monkeypatch):
    driver(FileNotFoundError())
    monkeypatch.setattr(doctor_module, "_installed", lambda name: "9.9" if name == "torch" else None)
    extras = {extra["name"]: extra for extra in json.loads(run("doctor", "--json")[1])["extras"]}
    assert set(extras) == {"dash", "torch", "triton", "dask", "pyarrow"}
    assert extras["torch"]["version"] == "9.9"
    assert extras["dash"]["install"] == "pip install 'kvwall[dashboard]'"
    out = run("doctor")[1]
    assert "pip install 'kvwall[distributed]'" in out
    assert not any("torch" in line and "pip" in line for line in out.splitlines())


def test_nothing_optional_is_imported():
    script = (
        "import sys\nfrom kvwall.simulator.cli.main import main\nmain(['doctor', '--json'])\n"
        "print(sorted({'torch', 'triton', 'dash', 'dask', 'pyarrow', 'scipy', 'plotly'} & set(sys.modules)), "
        "file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == "[]\n"


def test_shipped_data_that_does_not_load_is_a_no(run, driver, monkeypatch):
    driver(FileNotFoundError())

    class Broken:
        names = ("x",)

        def load(self, name):
            raise InputError("devices/x.yaml: is empty")

    monkeypatch.setattr(doctor_module, "libraries", lambda plural: (Broken(),))
    monkeypatch.setattr(doctor_module, "count", lambda plural: 1)
    monkeypatch.setattr(doctor_module, "library_kinds", lambda: ("devices",))
    status, out, err = run("doctor")
    assert status == 1
    assert "1 devices" in out
    assert err == (
        "kvwall: no: 1 of the shipped files does not load: reinstall kvwall (first: devices/x.yaml: is empty)\n"
    )
