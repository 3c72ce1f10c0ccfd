"""Rows of every list.

Each kind imports its library only when it is listed, because most of them cost more to import than to read.
"""

from __future__ import annotations

from collections.abc import Callable

from kvwall.simulator.answers.kinds import KINDS, count, library_kinds
from kvwall.simulator.answers.rows import (
    CalibrationRow,
    DeviceRow,
    EngineRow,
    KindRow,
    ModelRow,
    Row,
    ScenarioRow,
    SchemeRow,
    SystemRow,
    TechniqueRow,
    TraceRow,
    WeightRow,
)

#: Traces are not shipped: these are the public formats, by the columns that tell them apart.
TRACE_FORMATS: tuple[TraceRow, ...] = (
    TraceRow(
        name="azure-llm-inference",
        title="arrivals and lengths of code and conversation requests of 2023 (CSV)",
        columns=("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
        source="Azure/AzurePublicDataset, CC-BY 4.0; Patel et al. 2024, Splitwise, arXiv 2311.18677",
    ),
    TraceRow(
        name="mooncake",
        title="arrivals, lengths and hashes of 512-token blocks, so that prefixes can be matched (JSON lines)",
        columns=("timestamp", "input_length", "output_length", "hash_ids"),
        source="kvcache-ai/Mooncake, Apache-2.0; Qin et al. 2024, arXiv 2407.00079",
    ),
    TraceRow(
        name="vidur",
        title="lengths without arrivals (CSV)",
        columns=("num_prefill_tokens", "num_decode_tokens"),
        source="microsoft/vidur, MIT; Agrawal et al. 2024, arXiv 2405.05465",
    ),
    TraceRow(
        name="plain",
        title="arrivals in seconds and lengths (CSV)",
        columns=("arrival_s", "input_tokens", "output_tokens"),
        source="the columns of kvwall",
    ),
)


def device_rows() -> list[Row]:
    """All devices."""
    from kvwall.hardware.device import DEVICES

    return [
        DeviceRow(
            name=name,
            aliases=device.aliases,
            title=device.name,
            vendor=device.vendor,
            architecture=device.architecture,
            memory_bytes=device.hbm.capacity_bytes,
            memory_bandwidth_bytes_per_s=device.hbm.bandwidth_bytes_per_s,
            matrix_dtype=device.matrix_dtype("bf16"),
            matrix_flops_per_s=device.matrix_flops_per_s("bf16"),
            fp8_flops_per_s=device.matrix_peaks.fp8,
            link_bytes_per_s=device.scale_up.bandwidth_bytes_per_s if device.scale_up else None,
            usd_per_hour=device.price.per_hour_usd if device.price else None,
        )
        for name, device in DEVICES.all().items()
    ]


def model_rows() -> list[Row]:
    """All models."""
    from kvwall.simulator.answers.model_figures import attention_pattern, cached_bytes
    from kvwall.workloads.model_spec import MODELS
    from kvwall.workloads.parameters import count_parameters

    rows: list[Row] = []
    for name, model in MODELS.all().items():
        count, cached = count_parameters(model), cached_bytes(model)
        rows.append(
            ModelRow(
                name=name,
                aliases=(model.name, *model.aliases),
                hf_id=model.hf_id,
                parameters=count.total,
                active_parameters=count.active,
                layers=model.layers,
                attention=attention_pattern(model),
                feed_forward=tuple(dict.fromkeys(group.kind for group in model.feed_forward)),
                kv_bytes_per_token=cached.per_token,
                window_bytes_per_sequence=cached.windows,
                state_bytes_per_sequence=cached.state,
                max_context_tokens=model.max_context,
                status=model.status,
            )
        )
    return rows


def scheme_rows() -> list[Row]:
    """All schemes, installed plug-ins included."""
    from kvwall.simulator.stack import scheme_class, scheme_names

    return [
        SchemeRow(
            name=name,
            title=scheme.title,
            axes=tuple(sorted(scheme.axes)),
            options=tuple(f"{key}={field.default}" for key, field in scheme.model_fields.items()),
            reference=scheme.reference,
        )
        for name, scheme in ((name, scheme_class(name)) for name in scheme_names())
    ]


def weight_rows() -> list[Row]:
    """All formats of weights."""
    from kvwall.workloads.weight_format import WEIGHTS

    return [
        WeightRow(
            name=name,
            aliases=made.aliases,
            bits_per_weight=made.bits_per_weight,
            payload_bits=made.payload_bits,
            group_size=made.group_size,
            compute_dtype=made.compute_dtype,
            fallback_dtype=made.fallback_dtype,
        )
        for name, made in WEIGHTS.all().items()
    ]


def engine_rows() -> list[Row]:
    """All profiles of engines."""
    from kvwall.hardware.engine import ENGINES
    from kvwall.hardware.engine_version import versions

    return [
        EngineRow(
            name=name,
            aliases=engine.aliases,
            title=engine.name,
            engine=engine.engine,
            versions=versions(engine),
            utilization_of=engine.utilization_of,
            utilization=engine.utilization,
            block_tokens=engine.block_tokens,
        )
        for name, engine in ENGINES.all().items()
    ]


def system_rows() -> list[Row]:
    """All nodes."""
    from kvwall.hardware.system import NODES

    return [
        SystemRow(
            name=name,
            aliases=node.aliases,
            title=node.name,
            devices=node.devices,
            devices_per_node=node.devices_per_node,
            host_memory_bytes=node.host.memory_bytes,
            ssd_bytes=node.host.ssd_bytes,
            network_bytes_per_s=node.network.bandwidth_bytes_per_s,
        )
        for name, node in NODES.all().items()
    ]


def scenario_rows() -> list[Row]:
    """All scenarios."""
    from kvwall.workloads.scenario import SCENARIOS

    return [
        ScenarioRow(
            name=name,
            aliases=scenario.aliases,
            title=scenario.title,
            model=scenario.model,
            on=scenario.on,
            engine=scenario.engine,
            weights=scenario.weights,
            schemes=scenario.schemes,
        )
        for name, scenario in SCENARIOS.all().items()
    ]


def calibration_rows() -> list[Row]:
    """All calibrations: fits of kernels by device and framework, constants of engines, then class defaults."""
    from kvwall.hardware.calibration import CALIBRATIONS, KERNEL_CALIBRATIONS
    from kvwall.hardware.engine_calibration import ENGINE_CALIBRATIONS

    fitted: list[Row] = [
        CalibrationRow(name=name, aliases=(), calibrated=True, kinds=tuple(made.fits), source=made.source)
        for name, made in KERNEL_CALIBRATIONS.all().items()
    ]
    served: list[Row] = [
        CalibrationRow(name=name, aliases=(), calibrated=True, kinds=made.models, source=made.source)
        for name, made in ENGINE_CALIBRATIONS.all().items()
    ]
    return [*fitted, *served] + [
        CalibrationRow(
            name=name,
            aliases=made.aliases,
            calibrated=made.calibrated,
            kinds=tuple(made.kinds),
            source=made.source,
        )
        for name, made in CALIBRATIONS.all().items()
    ]


def technique_rows() -> list[Row]:
    """All published systems that are no scheme."""
    from kvwall.simulator.technique import TECHNIQUES

    return [
        TechniqueRow(name=name, aliases=made.aliases, title=made.title, ask=made.ask, source=made.source)
        for name, made in TECHNIQUES.all().items()
    ]


def trace_rows() -> list[Row]:
    """The public formats of traces."""
    return list(TRACE_FORMATS)


#: Rows by the plural of a kind.
ROWS: dict[str, Callable[[], list[Row]]] = {
    "devices": device_rows,
    "models": model_rows,
    "schemes": scheme_rows,
    "techniques": technique_rows,
    "weights": weight_rows,
    "engines": engine_rows,
    "systems": system_rows,
    "scenarios": scenario_rows,
    "calibrations": calibration_rows,
    "traces": trace_rows,
}


def kind_rows() -> list[Row]:
    """The kinds themselves; no file is read to count them."""
    counts = {plural: count(plural) for plural in library_kinds()}
    return [
        KindRow(
            name=kind.plural,
            aliases=(kind.singular,),
            what=kind.what,
            count=counts[kind.plural] if kind.plural in counts else len(ROWS[kind.plural]()),
        )
        for kind in KINDS
    ]
