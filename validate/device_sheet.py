"""The data sheet of a machine that the library does not describe: a device YAML of measured peaks.

Every figure that is measured says so, when, and of how many repeats it is the best. What cannot be measured (energy,
price) is a class guess and says that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from kvwall.hardware.device import DEVICES, Device
from kvwall.hardware.document import parse_mapping, read_text, validate_mapping
from kvwall.hardware.errors import UnknownNameError
from kvwall.hardware.library import is_path
from kvwall.simulator.answers.gpus import match_device
from kvwall.simulator.cli.output import save
from kvwall.validate.environment import Environment
from kvwall.validate.peak_rates import Peaks

#: The data sheet in a folder of points, which is how the points name their device.
DEVICE_YAML = "device.yaml"

#: What an operating system adds to the name of a processor: "AMD EPYC 9654 96-Core Processor".
_PROCESSOR_WORDS = re.compile(r"\((?:R|TM)\)|\bAMD\b|\bIntel\b|\bCPU\b|@.*$|[0-9]+-Core Processor", re.IGNORECASE)

#: How the status of a measured data sheet begins.
_MEASURED = "measured"

#: A card whose memory is further from a data sheet than this is another card.
_MEMORY_TOLERANCE = 0.1

#: Where a peak is from; the points are those beside the sheet.
FASTEST = "of the fastest point, or"

#: Board power where the machine does not tell: 720 W of the 192 cores of two EPYC 9654, and a middling card.
_CORE_W, _CARD_W = 3.75, 300.0

#: First digits of a compute capability, and the architecture that they name.
_ARCHITECTURES = {"7.0": "Volta", "7.5": "Turing", "8.0": "Ampere", "8.6": "Ampere", "8.7": "Ampere", "8.9": "Ada"}
_GENERATIONS = {"9": "Hopper", "10": "Blackwell", "12": "Blackwell"}


def described_by(here: Environment) -> str | None:
    """The device of the library that this machine is, which takes more than a like name.

    A processor has as many cores as the data sheet counts: a slice of a server is another machine. A card has the
    memory of its data sheet, of which the driver keeps a part.
    """
    found = match_device(_PROCESSOR_WORDS.sub("", here.name).strip() if here.device == "cpu" else here.name)
    if found is None:
        return None
    sheet = DEVICES.load(found)
    if here.device == "cpu":
        return found if sheet.is_processor and sheet.units.count == here.units else None
    return found if abs(here.memory_bytes / sheet.hbm.capacity_bytes - 1) <= _MEMORY_TOLERANCE else None


def is_measured(sheet: Device) -> bool:
    """Whether ``sheet`` was measured here rather than printed by a vendor."""
    return sheet.status.startswith(f"{_MEASURED} on")


def named_in(folder: Path, here: Environment, name: str | None) -> str:
    """The device as the points in ``folder`` name it: an id of the library, or the data sheet beside them.

    :param name: what the caller says it is: a device of the library, or a data sheet, which is copied into ``folder``;
        any other name is what a measured data sheet will be called
    :raises InputError: ``name`` is a path of no data sheet
    """
    if name is None:
        return described_by(here) or DEVICE_YAML
    if is_path(name):
        DEVICES.load(name)
        if Path(name).resolve() != (folder / DEVICE_YAML).resolve():
            save(folder / DEVICE_YAML, read_text(Path(name)))
        return DEVICE_YAML
    try:
        return DEVICES.resolve(name)
    except UnknownNameError:
        return DEVICE_YAML


def write_sheet(path: Path, here: Environment, peaks: Peaks, name: str | None = None) -> Device:
    """Write the data sheet of the machine ``here`` with measured ``peaks``, and return it.

    :param name: what it is called; the machine's own name unless given
    """
    data = _sheet(here, peaks, name or _called(here))
    device = validate_mapping(data, Device, str(path))
    _save(path, data)
    return device


def raised(path: Path, points: Iterable[Mapping[str, Any]]) -> Device:
    """The data sheet at ``path``, whose peaks are raised to what the points have reached where that is more.

    A moment in which the machine had other work makes a peak too low. A sheet that was not measured stays as it is.

    :param points: with ``memory_bytes_per_s``, ``flops_per_s`` and ``dtype`` where they tell a rate, without a ``flag``
    """
    data = parse_mapping(read_text(path), str(path))
    device = validate_mapping(data, Device, str(path))
    if not is_measured(device):
        return device
    good = [point for point in points if not point.get("flag")]
    memory = max([point.get("memory_bytes_per_s") or 0.0 for point in good], default=0.0)
    if memory > device.hbm.bandwidth_bytes_per_s:
        data["hbm"]["bandwidth"] = _quantity(memory, "B/s")
    for dtype in {str(point.get("dtype")) for point in good} & set(data["matrix_peaks"]):
        flops = max(point.get("flops_per_s") or 0.0 for point in good if point.get("dtype") == dtype)
        if flops > getattr(device.matrix_peaks, dtype):
            data["matrix_peaks"][dtype] = _quantity(flops, "FLOP/s")
    _save(path, data)
    return validate_mapping(data, Device, str(path))


def _save(path: Path, data: dict[str, Any]) -> None:
    note = "# The machine on which the points beside this file were measured.\n"
    save(path, note + yaml.safe_dump(data, sort_keys=False, width=120, allow_unicode=True))


def _called(here: Environment) -> str:
    return f"{here.name} ({here.units} cores)" if here.device == "cpu" else here.name


def _sheet(here: Environment, peaks: Peaks, name: str) -> dict[str, Any]:
    day = here.started[:10]

    def measured(part: str) -> str:
        return f"measured by kvwall measure on {day}, best of {peaks.repeats[part]} repeats: a bound from below"

    told = f"as {'the operating system' if here.device == 'cpu' else 'the driver'} told on {day}"
    on_cpu = here.device == "cpu"
    flops = {dtype: _quantity(rate, "FLOP/s") for dtype, rate in peaks.flops_per_s.items()}
    sheet: dict[str, Any] = {
        "name": name,
        "vendor": here.vendor,
        "architecture": _architecture(here),
        **({"compute_capability": float(here.capability)} if here.vendor == "nvidia" else {}),
        "form": f"{here.sockets}-socket" if on_cpu else "card",
        "hbm": {
            "type": "memory of the host" if on_cpu else "memory of the device",
            "capacity": f"{here.memory_bytes / 2**30:.2f} GiB",
            "bandwidth": _quantity(peaks.memory_bytes_per_s, "B/s"),
            "source": f"capacity {told}; bandwidth {FASTEST} a long copy and read, {measured('memory')}",
        },
        "matrix_peaks": {**flops, "source": f"{FASTEST} square products by torch {here.torch}, {measured('product')}"},
        "vector_peaks": {
            "fp32": flops["fp32"],
            "source": "the fp32 product: torch has no kernel that tells the peak of the vector unit",
        },
        "units": {"count": here.units, "source": f"{'cores' if on_cpu else 'multiprocessors'}, {told}"},
        "l2": {
            "capacity": f"{here.cache_bytes / 2**20:.2f} MiB",
            **({"bandwidth": _quantity(peaks.cache_bytes_per_s, "B/s")} if peaks.cache_bytes_per_s else {}),
            "source": f"capacity {told}; bandwidth of a copy or read of half of it, {measured('cache')}",
        },
    }
    if peaks.link_bytes_per_s:
        rate = _quantity(peaks.link_bytes_per_s, "B/s")
        sheet["host_link"] = {
            "kind": "host",
            "bandwidth": rate,
            "source": f"pinned copy to the device, {measured('link')}",
        }
    launch = {"eager": f"{peaks.eager_s * 1e6:.3g} us", "graph": f"{peaks.graph_s * 1e6:.3g} us"}
    sheet["launch"] = {**launch, "source": f"an addition of 32 numbers, {measured('launch')}"}
    return {**sheet, **_guessed(here, peaks), "status": f"{_MEASURED} on {day}"}


def _guessed(here: Environment, peaks: Peaks) -> dict[str, Any]:
    """Power and energy, which no command reads here: answers in joules are worth little on this sheet."""
    limit = _CORE_W * here.units if here.device == "cpu" else _CARD_W
    fastest = max(peaks.flops_per_s.values())
    guess = "a class guess, not measured: answers in watts and joules are worth little on this sheet"
    return {
        "power": {"limit": f"{limit:.3g} W", "floor": f"{0.2 * limit:.3g} W", "source": guess},
        "energy": {
            "per_byte": f"{0.48 * limit / peaks.memory_bytes_per_s * 1e12:.3g} pJ/B",
            "per_flop": f"{limit / fastest * 1e12:.3g} pJ/FLOP",
            "source": f"0.6 x (limit - floor) / bandwidth, and limit / fastest product; {guess}",
        },
    }


def _architecture(here: Environment) -> str:
    """The instruction set of a processor; the generation of an NVIDIA card, whose calibrations it may borrow."""
    if here.device == "cpu":
        return here.capability
    if here.vendor != "nvidia":
        return f"gfx_{here.capability}"
    generation = _GENERATIONS.get(here.capability.partition(".")[0], f"sm_{here.capability}")
    return _ARCHITECTURES.get(here.capability, generation)


def _quantity(value: float, unit: str) -> str:
    """``value`` with four digits and the prefix that makes it short."""
    for prefix, size in (("P", 1e15), ("T", 1e12), ("G", 1e9)):
        if value >= size:
            return f"{value / size:.4g} {prefix}{unit}"
    return f"{value / 1e6:.4g} M{unit}"
