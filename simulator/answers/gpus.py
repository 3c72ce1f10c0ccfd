"""The GPUs of this machine, and what kvwall knows of each."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

from kvwall.hardware.calibration import CALIBRATIONS, KERNEL_CALIBRATIONS
from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import UnknownNameError, canonical
from kvwall.simulator.answers.base import Part

_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")

#: A driver that hangs must not hang the command.
_TIMEOUT_S = 10.0

#: Words around a product's name that data sheets leave out.
_PREFIXES = ("NVIDIA ", "GeForce ", "Tesla ")
_SUFFIXES = (" Laptop GPU", " GPU", " Generation")

#: A card whose memory is further from its data file than this is another card.
_MEMORY_TOLERANCE = 0.05


class Gpu(Part):
    """One GPU as its driver reports it.

    :ivar device: the device of the library that it is, if any
    :ivar calibrations: calibrations that were made on that device; without one the class defaults are used
    :ivar note: what to do where it is unknown or differs from its data file
    """

    name: str
    memory_bytes: float | None
    driver_version: str
    device: str | None
    calibrations: tuple[str, ...]
    note: str


def find_gpus() -> tuple[tuple[Gpu, ...], str]:
    """All NVIDIA GPUs that ``nvidia-smi`` lists, and why there are none if there are none."""
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError:
        return (), "nvidia-smi is not installed"
    except subprocess.TimeoutExpired:
        return (), f"nvidia-smi did not answer within {_TIMEOUT_S:g} s"
    except OSError as error:
        return (), f"nvidia-smi cannot be run ({error.strerror or error})"
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        return (), f"nvidia-smi failed: {said[0] if said else f'exit status {done.returncode}'}"
    found = tuple(describe_gpu(*_fields(line)) for line in done.stdout.splitlines() if line.strip())
    return found, "" if found else "nvidia-smi lists none"


def _fields(line: str) -> tuple[str, str, str]:
    name, memory, driver = ([part.strip() for part in line.split(",")] + ["", ""])[:3]
    return name, memory, driver


def describe_gpu(name: str, memory: str, driver: str) -> Gpu:
    """What kvwall knows of a GPU called ``name``.

    :param memory: as the driver prints it, ``"81559 MiB"``
    """
    size = re.fullmatch(r"(\d+) MiB", memory)
    memory_bytes = float(size[1]) * 2**20 if size else None
    device = match_device(name)
    return Gpu(
        name=name,
        memory_bytes=memory_bytes,
        driver_version=driver,
        device=device,
        calibrations=calibrations_of(device) if device else (),
        note=_note(device, memory_bytes),
    )


def match_device(name: str) -> str | None:
    """The device of the library that a driver calls ``name``."""
    for spelling in _spellings(name):
        try:
            return DEVICES.resolve(spelling)
        except UnknownNameError:
            continue
    return None


def _spellings(name: str) -> Iterator[str]:
    """``name``, and then with fewer and fewer of the words that data sheets leave out."""
    yield name
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
        yield name
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
        yield name


def calibrations_of(device: str) -> tuple[str, ...]:
    """The calibrations whose name, alias or ``device`` says that they were made on ``device``.

    Fits of kernels as answers cite them: ``DEVICE.FRAMEWORK`` for all parts of one framework.
    """

    def names(calibration: str) -> list[str]:
        made = CALIBRATIONS.load(calibration)
        stated = getattr(made, "device", None)
        before_slash = [text.partition("/")[0] for text in (calibration, made.name, *made.aliases)]
        return [*before_slash, stated] if isinstance(stated, str) else before_slash

    wanted = canonical(device)
    own = [name for name in CALIBRATIONS.names if wanted in {canonical(text) for text in names(name)}]
    fitted = [name for name in KERNEL_CALIBRATIONS.names if canonical(name.partition(".")[0]) == wanted]
    return tuple(dict.fromkeys((*own, *(".".join(name.split(".")[:2]) for name in fitted))))


def _note(device: str | None, memory_bytes: float | None) -> str:
    if device is None:
        return "no device file: --on takes the path of a YAML file"
    stated = DEVICES.load(device).hbm.capacity_bytes
    if memory_bytes and abs(memory_bytes / stated - 1) > _MEMORY_TOLERANCE:
        found, said = memory_bytes / 2**30, stated / 2**30
        return f"has {found:.1f} GiB where {device} has {said:.1f}: give --gpu-memory-gib"
    return ""
