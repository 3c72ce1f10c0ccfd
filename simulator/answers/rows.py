"""What a list shows of one device, model, scheme, ...: the few figures that a planner chooses by."""

from __future__ import annotations

from kvwall.simulator.answers.base import Part


class Row(Part):
    """One member of a kind; ``aliases`` are further names that mean it."""

    name: str
    aliases: tuple[str, ...] = ()


class KindRow(Row):
    """One kind: what it is and how many ship with kvwall."""

    what: str
    count: int


class DeviceRow(Row):
    """A device: dense peaks, one-way link.

    :ivar matrix_dtype: in which 16-bit products really run here; the peak is of that dtype
    """

    title: str
    vendor: str
    architecture: str
    memory_bytes: float
    memory_bandwidth_bytes_per_s: float
    matrix_dtype: str
    matrix_flops_per_s: float
    fp8_flops_per_s: float | None
    link_bytes_per_s: float | None
    usd_per_hour: float | None


class ModelRow(Row):
    """A model: its size and what its cache costs in 16 bits.

    :ivar feed_forward: dense or moe, both where layers differ
    :ivar kv_bytes_per_token: of the layers that keep every token, indexer keys included
    :ivar window_bytes_per_sequence: of the layers that keep a window, once it is full
    :ivar state_bytes_per_sequence: of the layers with a recurrent state
    """

    hf_id: str
    parameters: int
    active_parameters: int
    layers: int
    attention: str
    feed_forward: tuple[str, ...]
    kv_bytes_per_token: int
    window_bytes_per_sequence: int
    state_bytes_per_sequence: int
    max_context_tokens: int
    status: str


class SchemeRow(Row):
    """A scheme; ``options`` are ``name=default``."""

    title: str
    axes: tuple[str, ...]
    options: tuple[str, ...]
    reference: str


class WeightRow(Row):
    """A format of weights; ``bits_per_weight`` holds all metadata."""

    bits_per_weight: float
    payload_bits: float
    group_size: int | None
    compute_dtype: str
    fallback_dtype: str


class EngineRow(Row):
    """A profile of an engine; ``utilization`` is ``None`` where the engine derives it."""

    title: str
    engine: str
    versions: str
    utilization_of: str
    utilization: float | None
    block_tokens: int


class SystemRow(Row):
    """A node; network rate one way per device."""

    title: str
    devices: tuple[str, ...]
    devices_per_node: int
    host_memory_bytes: float
    ssd_bytes: float
    network_bytes_per_s: float


class ScenarioRow(Row):
    """A scenario."""

    title: str
    model: str
    on: str
    engine: str
    weights: tuple[str, ...]
    schemes: tuple[str, ...]


class CalibrationRow(Row):
    """A calibration: fitted to measurements, or documented class defaults."""

    calibrated: bool
    kinds: tuple[str, ...]
    source: str


class TechniqueRow(Row):
    """A published system that is no scheme."""

    title: str
    ask: str
    source: str


class TraceRow(Row):
    """A public format of traces."""

    title: str
    columns: tuple[str, ...]
    source: str


AnyRow = (
    KindRow
    | DeviceRow
    | ModelRow
    | SchemeRow
    | TechniqueRow
    | WeightRow
    | EngineRow
    | SystemRow
    | ScenarioRow
    | CalibrationRow
    | TraceRow
)
