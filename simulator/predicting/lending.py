"""Lending: what a fit of another library, device or generation is worth for a kernel without a fit of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvwall.hardware.device import DEVICES
from kvwall.simulator.kernel_time.family import Family, Parameter
from kvwall.simulator.kernel_time.machine import machine_of
from kvwall.simulator.predicting.families import families
from kvwall.simulator.predicting.machines import architecture
from kvwall.simulator.predicting.names import KERNELS, framework_of

if TYPE_CHECKING:
    from kvwall.simulator.predicting.choosing import Fitted
    from kvwall.simulator.predicting.prediction import Kernel

#: Frameworks whose numbers are borrowed first, where several would do.
USUAL = ("vllm", "sglang", "trtllm", "nccl")

#: Known kernels whose plan a kernel of unknown make may follow, by the family that it has without one.
KNOWN_PLANS: dict[str, tuple[str, ...]] = {
    "decode/generic": ("decode/fa3-bf16", "decode/fa2-bf16", "decode/xqa-bf16-narrow", "decode/mmha-bf16"),
    "decode/generic-fp8": ("decode/fa3-fp8", "decode/xqa-fp8-d128", "decode/mmha-fp8"),
    "prefill/generic": ("prefill/fa3-bf16", "prefill/fa2-bf16", "prefill/trtllm-bf16"),
    "prefill/generic-fp8-cache": ("prefill/fa3-fp8", "prefill/trtllm-bf16-fp8-cache"),
    "prefill/generic-fp8": ("prefill/trtllm-fp8",),
    "mla-decode/generic": ("mla-decode/bf16",),
    "mla-decode/generic-fp8": ("mla-decode/fp8",),
    "mla-prefill/generic": ("mla-prefill/bf16",),
    "mla-prefill/generic-fp8": ("mla-prefill/fp8",),
}

#: Part of a kernel's fixed times that passes in cycles of the compute units; the rest is the memory's latency, which
#: hardly changes between generations.
_CYCLES = 0.75


#: What a loan between generations adds. Above 100 us a share of the memory or of the matrix unit decides. A decode
#: below is its launch and the walk of a thread block, whose cycles change with the compute unit; a prefill below is two
#: launches and what the framework does between them, which belongs to its version more than to the device.
_OTHER_GENERATION = {"decode": (0.15, 0.15, 0.12), "prefill": (0.3, 0.3, 0.12)}


@dataclass(frozen=True)
class Loan:
    """How far the device or the framework of a fit is from that of a kernel.

    :ivar distance: fits are tried in this order
    :ivar spread: what the loan adds to the spread of log(predicted/measured) by regime, in quadrature
    """

    distance: int
    spread: tuple[float, float, float]
    told: str = ""


def loan(fit: Fitted, kernel: Kernel) -> Loan | None:
    """What it takes to use ``fit`` for ``kernel``; ``None`` where it would be another kernel altogether."""
    # NCCL is NCCL, whoever calls it.
    nccl = fit.family.name.partition("/")[2].startswith("nccl")
    same_framework = nccl or framework_of(fit.framework) == framework_of(kernel.framework)
    if DEVICES.same(fit.device, kernel.device):
        if same_framework:
            return Loan(0, _evenly(0.0))
        return Loan(1, _evenly(0.15), f"borrowed from {fit.framework} on the same device")
    if architecture(fit.device) != architecture(kernel.device):
        return None
    told = f"borrowed from {fit.device} ({fit.framework}), data sheet of {kernel.device}"
    return Loan(2, _evenly(0.15), told) if same_framework else Loan(3, _evenly(0.2), told)


def preference(fit: Fitted) -> tuple[int, str, str]:
    """The order of fits that are equally near; releases of one framework on one device are alike."""
    usual = framework_of(fit.framework)
    return (USUAL.index(usual) if usual in USUAL else len(USUAL), fit.device, usual)


def other_generation(name: str, kernel: Kernel, fits: Iterable[Fitted]) -> tuple[Fitted, Loan] | None:
    """A fit of another architecture made into one of the attention family ``name``.

    Only of the same vendor and framework: of the same kernel where there is one, else of the one that shares most
    numbers, and of those the one with the most points. A decode kernel lends to its own cache format only: another one
    walks another way. A prefill reads its cache once and computes in 16 bits whatever the format.

    Times follow the clock of the compute units as far as :data:`_CYCLES`. An achieved part of the memory's or the
    matrix unit's peak belongs to the device as much as to the kernel: half of the way is kept (in the logarithm). What
    the lender lacks stays at its default.
    """
    family = families().get(name)
    if family is None or KERNELS[kernel.kernel] != "attention" or name in KNOWN_PLANS:
        return None
    others = [fit for fit in fits if _may_lend(fit, family, kernel)]
    if not others:
        return None
    fit = min(others, key=lambda fit: (fit.family.name != name, -_shared(fit, family), -fit.n, fit.calibration))
    told = f"borrowed from {fit.device} ({fit.framework}, {fit.family.name}), another generation, scaled by the clock"
    kind = "prefill" if "prefill" in kernel.kernel else "decode"
    found = replace(fit, family=family, parameters=carried(fit, family, kernel.device), folds=())
    return found, Loan(4 if fit.family is family else 5, _OTHER_GENERATION[kind], told)


def _evenly(spread: float) -> tuple[float, float, float]:
    return (spread, spread, spread)


def _may_lend(fit: Fitted, family: Family, kernel: Kernel) -> bool:
    """Whether ``fit`` is of another generation of the same vendor, of a like kernel by the same framework."""
    same_kind = fit.family.kernel == family.kernel and fit.family.name not in KNOWN_PLANS
    same_cache = kernel.kernel == "prefill_attention" or ("fp8" in fit.family.name) == ("fp8" in family.name)
    same_library = framework_of(fit.framework) == framework_of(kernel.framework)
    lender, borrower = DEVICES.load(fit.device), DEVICES.load(kernel.device)
    alike = lender.vendor == borrower.vendor and lender.is_processor == borrower.is_processor
    other = alike and architecture(fit.device) != architecture(kernel.device)
    return same_kind and same_cache and same_library and other


def _shared(fit: Fitted, family: Family) -> int:
    return sum(parameter.name in fit.parameters for parameter in family.parameters)


def carried(fit: Fitted, family: Family, device_id: str) -> dict[str, float]:
    """The numbers of ``family`` on ``device_id`` as ``fit`` tells them."""
    clocks = [machine_of(DEVICES.load(name)).clock_hz for name in (fit.device, device_id)]
    slower = (clocks[0] / clocks[1]) ** _CYCLES
    return {
        parameter.name: _one(parameter, fit.parameters.get(parameter.name), slower) for parameter in family.parameters
    }


def _one(parameter: Parameter, lent: float | None, slower: float) -> float:
    if lent is None:
        return parameter.default
    value = lent
    if parameter.unit == "us":
        value = lent * slower
    elif parameter.name.endswith("_fraction"):
        value = (lent * parameter.default) ** 0.5
    return min(max(value, parameter.low), parameter.high)
