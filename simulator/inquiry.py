"""An inquiry: a question in the words of its asker, and the setup it means.

Every command and the Python API take the same options; here they become descriptions, with what was assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kvwall.hardware.device import Device
from kvwall.hardware.engine_version import find_engine
from kvwall.hardware.errors import InputError, canonical
from kvwall.hardware.system import System, make_system
from kvwall.simulator.adapters import parse_adapters
from kvwall.simulator.deployment import make_deployment
from kvwall.simulator.engine_constants import engine_constants
from kvwall.simulator.kernel_prices import calibration_of
from kvwall.simulator.missing_units import missing_units
from kvwall.simulator.overrides import overridden, parse_overrides
from kvwall.simulator.pools import pool
from kvwall.simulator.predicting.defaults import CLASS_DEFAULTS
from kvwall.simulator.setup import Overrides, Setup
from kvwall.simulator.speculation import parse_speculation, with_draft
from kvwall.simulator.stack import parse_stack
from kvwall.workloads.model_lookup import find_model
from kvwall.workloads.model_spec import ModelSpec
from kvwall.workloads.weight_format import WEIGHTS

_GIB = 2.0**30
Phase = str


@dataclass(frozen=True)
class Inquiry:
    """The options that all commands share, as they are typed; ``None`` where nothing was said.

    :ivar model: name, Hugging Face id, or path of a config.json or its folder
    :ivar on: ``DEVICE[:N]``, or pools: ``prefill=h100:8,decode=h20:8``
    """

    model: str
    on: str
    nodes: int | None = None
    tp: int | None = None
    pp: int | None = None
    dp: int | None = None
    ep: int | None = None
    attn_dp: int = 1
    dcp: int = 1
    engine: str = "vllm"
    engine_version: str | None = None
    memory_utilization: float | None = None
    max_batched_tokens: int | None = None
    max_num_seqs: int | None = None
    max_model_len: int | None = None
    block_size: int | None = None
    speculative: str | None = None
    lora: str | None = None
    eager: bool = False
    weights: str | None = None
    scheme: str = "none"
    kv_dtype: str | None = None
    set: tuple[str, ...] = ()
    gpu_memory_gib: float | None = None
    weights_gib: float | None = None
    kv_gib: float | None = None
    kv_tokens: int | None = None
    price_usd_per_gpu_hour: float | None = None
    utilization: float = 1.0
    calibration: str = "auto"


@dataclass(frozen=True)
class Resolved:
    """A setup and what was assumed on the way to it.

    :ivar setup: descriptions, checked against each other
    :ivar assumptions: what was not said and what was taken instead
    :ivar warnings: what the asker should know before trusting the answer
    """

    setup: Setup
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())


def resolve(inquiry: Inquiry, phase: Phase = "decode") -> Resolved:
    """The setup that ``inquiry`` means.

    :param phase: which pool of ``--on`` is asked about
    :raises InputError: anything unknown, impossible or contradictory; names the option and the value
    """
    _check_numbers(inquiry)
    changes = parse_overrides(inquiry.set)
    name, model = find_model(inquiry.model)
    model = overridden(model, changes.get("model", {}), "model")
    speculation = parse_speculation(inquiry.speculative) if inquiry.speculative is not None else None
    if speculation is not None:
        model = with_draft(model, speculation)
    system = _system(inquiry, phase, changes)
    told = engine_constants(find_engine(inquiry.engine, inquiry.engine_version), name, inquiry.calibration)
    engine = overridden(told.engine, changes.get("engine", {}), "engine")
    weights_name = native_weights(model) if inquiry.weights is None else WEIGHTS.resolve(inquiry.weights)
    weights = WEIGHTS.load(weights_name)
    weights.check(system.device)
    stack = parse_stack(inquiry.scheme, inquiry.kv_dtype)
    stack.check(model)
    deployment = make_deployment(
        model, system, tp=inquiry.tp, pp=inquiry.pp, dp=inquiry.dp, ep=inquiry.ep,
        attn_dp=inquiry.attn_dp, dcp=inquiry.dcp,
    )  # fmt: skip
    if inquiry.memory_utilization is not None and engine.utilization_of == "none":
        given = f"--memory-utilization {inquiry.memory_utilization}"
        raise InputError(
            f"{given}: engine {engine.engine!r} has no memory fraction; state the memory by --gpu-memory-gib"
        )
    named, calibration, kernels = calibration_of(system.device_id, system.device, engine.engine, told.kernels)
    setup = Setup(
        model_name=name,
        architecture=model,
        weights_name=weights_name,
        weights=weights,
        system=system,
        deployment=deployment,
        engine=engine,
        stack=stack,
        calibration_name=named,
        calibration=calibration,
        kernels=kernels,
        utilization=inquiry.memory_utilization,
        max_batched_tokens=inquiry.max_batched_tokens,
        max_num_seqs=inquiry.max_num_seqs,
        max_model_len=inquiry.max_model_len,
        block_tokens=inquiry.block_size,
        eager=inquiry.eager,
        price_usd_per_gpu_hour=inquiry.price_usd_per_gpu_hour,
        paid_utilization=inquiry.utilization,
        overrides=_overrides(inquiry),
        speculation=speculation,
        adapters=parse_adapters(inquiry.lora) if inquiry.lora is not None else None,
    )
    assumptions = _assumptions(inquiry, setup, phase)
    if told.calibration is not None:
        assumptions += (f"host time and queue of the engine by {told.calibration}, fitted to served points",)
    return Resolved(setup, assumptions, (*_warnings(setup), *_unused_calibration(inquiry, setup)))


def native_weights(model: ModelSpec) -> str:
    """The weight format a model is published in: its dtype, or bf16 where that is no format of weights."""
    native = {"fp8": "fp8-block", "fp32": "bf16", "fp16": "fp16", "bf16": "bf16"}.get(model.dtype, model.dtype)
    return native if native in WEIGHTS.names else "bf16"


def _system(inquiry: Inquiry, phase: Phase, changes: dict[str, dict[str, str]]) -> System:
    system = make_system(pool(inquiry.on, phase), inquiry.nodes)
    device: Device = overridden(system.device, changes.get("device", {}), "device")
    node = overridden(system.node, changes.get("system", {}), "system")
    return System(system.device_id, device, system.count, system.nodes, node)


def _overrides(inquiry: Inquiry) -> Overrides:
    def as_bytes(gib: float | None) -> float | None:
        return None if gib is None else gib * _GIB

    return Overrides(
        gpu_memory_bytes=as_bytes(inquiry.gpu_memory_gib),
        weights_bytes=as_bytes(inquiry.weights_gib),
        kv_bytes=as_bytes(inquiry.kv_gib),
        kv_tokens=inquiry.kv_tokens,
    )


#: Options that are numbers, with what they may be.
_RANGES: dict[str, tuple[float, float]] = {
    "memory_utilization": (0.01, 1.0),
    "max_batched_tokens": (1, 1e8),
    "max_num_seqs": (1, 1e6),
    "max_model_len": (1, 1e9),
    "block_size": (1, 1e6),
    "gpu_memory_gib": (0.1, 1e5),
    "weights_gib": (0.001, 1e5),
    "kv_gib": (0.0001, 1e6),
    "kv_tokens": (1, 1e12),
    "price_usd_per_gpu_hour": (0, 1e5),
    "utilization": (0.001, 1.0),
}


def _check_numbers(inquiry: Inquiry) -> None:
    for option, (low, high) in _RANGES.items():
        value = getattr(inquiry, option)
        if value is not None and not low <= value <= high:  # NaN is inside no range
            raise InputError(f"--{option.replace('_', '-')} {value}: must lie between {low:g} and {high:g}")


def _assumptions(inquiry: Inquiry, setup: Setup, phase: Phase) -> tuple[str, ...]:
    device = setup.system.device
    machine = f"{setup.system.count} x {device.name} ({setup.system.device_id})"
    asked = f"the {phase} pool of {inquiry.on!r}, the only one priced here," if "=" in inquiry.on else f"{inquiry.on!r}"
    made = [
        f"{asked} is {machine}, split {setup.deployment.text}",
        f"engine profile: {setup.engine.name}",
        f"passes of up to {setup.batched_tokens} tokens and {setup.num_seqs} sequences",
    ]
    if inquiry.weights is None:
        made.append(f"weights as published: {setup.weights_name}")
    made += missing_units(setup)
    if setup.kernels is not None and setup.kernels.borrowed:
        made.append(
            f"attention and collectives borrowed from {setup.calibration_name}, another generation, scaled by the "
            "clock, with a wider band; the rest by documented class defaults"
        )
    elif setup.kernels is not None:
        made.append(
            f"kernels calibrated by {setup.calibration_name}; what they do not know by documented class defaults"
        )
    else:
        made.append("uncalibrated: efficiencies are documented class defaults, not a fit")
    if setup.speculation is not None:
        draft = setup.speculation
        tree = "" if draft.nodes is None else f" in a row from a tree of {draft.nodes}"
        chance = f"accepted {draft.acceptance:g} each: {draft.emitted:.2f} a step"
        made.append(f"{draft.drafter} drafts {draft.tokens}{tree}, {chance}")
    if device.single_source:
        made.append(f"{device.name}: figures from a single public source")
    if inquiry.price_usd_per_gpu_hour is None and device.price is not None:
        price = device.price
        when = f"as of {price.as_of}" if price.as_of[:1].isdigit() else "recalled, not looked up"
        made.append(f"price {price.per_hour_usd:g} USD per GPU-hour, {when}")
    return tuple(made)


def _unused_calibration(inquiry: Inquiry, setup: Setup) -> tuple[str, ...]:
    """A warning for a calibration that was named and knows nothing of the device."""
    asked = canonical(inquiry.calibration)
    if asked in {"auto", "none", CLASS_DEFAULTS} or setup.calibration_name != CLASS_DEFAULTS:
        return ()
    return (
        f"--calibration {inquiry.calibration} prices no kernel on {setup.system.device.name}: "
        "all of it is priced by documented class defaults",
    )


def _warnings(setup: Setup) -> tuple[str, ...]:
    warnings = []
    if setup.usd_per_hour is None:
        warnings.append(f"no price is known for {setup.system.device.name}: give --price-usd-per-gpu-hour")
    if setup.model.status != "checked":
        warnings.append(f"{setup.model.name}: architecture {setup.model.status}, not checked against its source")
    return tuple(warnings)
