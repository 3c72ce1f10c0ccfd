"""What a measurement depends on besides the kernel: device, clocks, driver, libraries."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kvwall.hardware.document import Document
from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.base import kvwall_version

#: Attention libraries that are timed where they are installed: framework and the module it imports.
LIBRARIES = {
    "flash_attn": "flash_attn",
    "flashinfer": "flashinfer",
    "vllm": "vllm.vllm_flash_attn",
    "xformers": "xformers.ops",
}
#: Distributions whose version is not that of their module's name.
_DISTRIBUTIONS = {"flash_attn": "flash-attn", "flashinfer": "flashinfer-python"}

_CLOCK_QUERY = "clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.draw,power.limit,temperature.gpu"
_TIMEOUT_S = 10.0
_CACHE_FILES = "/sys/devices/system/cpu/cpu0/cache"
#: Where the machine does not tell, larger than the last-level cache of most.
_CPU_CACHE_BYTES = 64e6
_GPU_CACHE_BYTES = 128e6

#: Vendors as the processor spells them.
_VENDORS = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}

#: Two runs that differ in one of these may not share a folder.
IDENTITY = ("device", "gpu", "name", "units", "driver", "torch", "triton")


class Environment(Document):
    """Where points were measured.

    :ivar device: ``cuda`` or ``cpu``
    :ivar gpu: the device as points name it: an id of the device library, or the data sheet beside the points
    :ivar name: as the driver or the operating system prints it
    :ivar cache_bytes: last-level cache, by which cold inputs are made
    :ivar clocks: as ``nvidia-smi`` prints them at the start
    :ivar libraries: version by framework
    """

    device: str
    gpu: str
    name: str
    count: int
    capability: str
    units: int
    memory_bytes: float
    cache_bytes: float
    driver: str
    clocks: str
    torch: str
    cuda: str
    triton: str
    libraries: dict[str, str]
    python: str
    platform: str
    kvwall: str
    started: str
    vendor: str = "unknown"
    sockets: int = 1

    def differs_from(self, other: Environment) -> str | None:
        """The first thing in which two environments differ so that their points do not belong together."""
        for key in IDENTITY:
            mine, its = getattr(self, key), getattr(other, key)
            if mine != its:
                return f"{key} {its!r}, this run has {mine!r}"
        return None


def require_torch() -> None:
    """Check that torch can be imported.

    :raises InputError: it cannot; names the command that installs it
    """
    if find_spec("torch") is None:
        raise InputError("measuring needs torch, which is not installed: pip install 'kvwall[gpu]'")


def require_device(device: str) -> None:
    """Check that torch sees ``device``.

    :raises InputError: neither ``cuda`` nor ``cpu``, or no GPU that torch can use; says what to do
    """
    if device not in ("cuda", "cpu"):
        raise InputError(f"--device {device!r}: allowed are cuda, cpu")
    require_torch()
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        built = "without CUDA" if torch.version.cuda is None else f"for CUDA {torch.version.cuda}"
        raise InputError(
            f"--device cuda: torch {torch.__version__} (built {built}) sees no GPU: "
            "pip install --force-reinstall torch for a build with CUDA, or measure with --device cpu"
        )


def has_triton() -> bool:
    """Whether kernels of kvwall's own can be compiled."""
    return find_spec("triton") is not None


def installed_libraries() -> dict[str, str]:
    """Version of each attention library that can be imported, by framework."""
    found = {}
    for framework, module in LIBRARIES.items():
        if find_spec(module.partition(".")[0]) is not None:
            found[framework] = _version(_DISTRIBUTIONS.get(framework, framework))
    return found


def environment(device: str) -> Environment:
    """This machine, as points measured on ``device`` (``cuda`` or ``cpu``) describe it.

    :raises InputError: ``device`` cannot be used here
    """
    require_device(device)
    import torch

    about = _cuda() if device == "cuda" else _cpu()
    return Environment(
        device=device,
        torch=torch.__version__,
        cuda=torch.version.cuda or "none",
        triton=_version("triton"),
        libraries=installed_libraries() if device == "cuda" else {},
        python=platform.python_version(),
        platform=platform.platform(),
        kvwall=kvwall_version(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        **about,
    )


def _cuda() -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "name": properties.name,
        "vendor": "nvidia" if torch.version.hip is None else "amd",
        "count": torch.cuda.device_count(),
        "capability": f"{properties.major}.{properties.minor}",
        "units": properties.multi_processor_count,
        "memory_bytes": float(properties.total_memory),
        "cache_bytes": float(getattr(properties, "L2_cache_size", 0) or _GPU_CACHE_BYTES),
        "driver": _nvidia_smi("driver_version"),
        "clocks": clocks(),
    }


def _cpu() -> dict[str, Any]:
    memory_bytes = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) if hasattr(os, "sysconf") else 0.0
    told = _cpu_lines()
    name = told.get("model name", [platform.processor() or platform.machine()])[0]
    vendor = told.get("vendor_id", ["unknown"])[0]
    return {
        "gpu": name,
        "name": name,
        "vendor": _VENDORS.get(vendor, vendor),
        "sockets": len(set(told.get("physical id", ["0"]))),
        "count": 1,
        "capability": platform.machine(),
        "units": _cores(told),
        "memory_bytes": memory_bytes,
        "cache_bytes": cpu_cache_bytes(Path(_CACHE_FILES)),
        "driver": "none",
        "clocks": "unknown",
    }


def _cores(told: dict[str, list[str]]) -> int:
    """Cores, of which two logical processors may be one."""
    cores = set(zip(told.get("physical id", ()), told.get("core id", ()), strict=False))
    return len(cores) or os.cpu_count() or 1


def _cpu_lines() -> dict[str, list[str]]:
    """What Linux tells of each core, by key; nothing elsewhere."""
    found: dict[str, list[str]] = {}
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return found
    for key, _, value in (line.partition(":") for line in lines if ":" in line):
        found.setdefault(key.strip(), []).append(value.strip())
    return found


def cpu_cache_bytes(folder: Path) -> float:
    """The largest cache that the kernel lists below ``folder``."""
    sizes = [_size_bytes(path.read_text(encoding="utf-8")) for path in folder.glob("index*/size")]
    return max([size for size in sizes if size], default=_CPU_CACHE_BYTES)


def _size_bytes(text: str) -> float:
    digits = text.strip().rstrip("KMG")
    unit = {"K": 2.0**10, "M": 2.0**20, "G": 2.0**30}.get(text.strip()[-1:], 1.0)
    return float(digits) * unit if digits.isdigit() else 0.0


def clocks() -> str:
    """Clocks, power and temperature of the first GPU now, each with its unit."""
    return _nvidia_smi(_CLOCK_QUERY)


def _nvidia_smi(query: str) -> str:
    command = ("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader", "--id=0")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 and done.stdout.strip() else "unknown"


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "none"
