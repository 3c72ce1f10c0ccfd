"""Devices: what a data sheet says of one accelerator, in SI units, with a source for every block of figures.

A device file is the specification and holds no efficiency: measured evidence lives in ``calibrations/``.
Peaks are dense (no structured sparsity), capacities are what a driver reports, links are one-way.
"""

from __future__ import annotations

from pydantic import Field

from kvwall.hardware.document import Document, Sourced
from kvwall.hardware.dtype import Dtype
from kvwall.hardware.library import Library
from kvwall.hardware.quantity import (
    Bytes,
    BytesPerSecond,
    FlopsPerSecond,
    Hertz,
    JoulesPerByte,
    JoulesPerFlop,
    MemoryBytes,
    Seconds,
    UsdPerHour,
    Watts,
)

#: Compute capability from which the switch of a node adds up.
_SUMMING_CAPABILITY = 9.0
#: Where a product runs when the device has no unit for its dtype, tried in order.
_FALLBACKS: dict[Dtype, tuple[Dtype, ...]] = {
    "fp4": ("fp8", "bf16", "fp16", "fp32"),
    "fp8": ("bf16", "fp16", "fp32"),
    "int4": ("int8", "bf16", "fp16", "fp32"),
    "int8": ("bf16", "fp16", "fp32"),
    "bf16": ("fp16", "fp32"),
    "fp16": ("bf16", "fp32"),
    "tf32": ("fp32",),
    "fp32": (),
}


class Memory(Sourced):
    """The memory that holds weights and cache: HBM, GDDR, LPDDR or DRAM."""

    type: str
    capacity_bytes: MemoryBytes = Field(alias="capacity", description="what the driver reports, not the label")
    bandwidth_bytes_per_s: BytesPerSecond = Field(alias="bandwidth")
    bus: str | None = None
    basis: str | None = Field(None, description="how the capacity was told")


class Peaks(Sourced):
    """Dense peak rates per dtype; a product of m x n x k counts 2mnk, an FMA counts 2."""

    fp32: FlopsPerSecond | None = None
    tf32: FlopsPerSecond | None = None
    fp16: FlopsPerSecond | None = None
    bf16: FlopsPerSecond | None = None
    fp8: FlopsPerSecond | None = None
    int8: FlopsPerSecond | None = None
    fp4: FlopsPerSecond | None = None
    int4: FlopsPerSecond | None = None


class Units(Sourced):
    """The compute units (SM, CU, core): how many, how fast, and the memory inside each."""

    count: int = Field(ge=1, le=1_000_000)
    boost_clock_hz: Hertz | None = Field(None, alias="boost_clock")
    matrix_clock_hz: Hertz | None = Field(None, alias="matrix_clock", description="the clock of the printed peak")
    sram_per_unit_bytes: Bytes | None = Field(None, alias="sram_per_unit")
    sram_per_block_bytes: Bytes | None = Field(None, alias="sram_per_block")
    register_file_per_unit_bytes: Bytes | None = Field(None, alias="register_file_per_unit")


class LastLevelCache(Sourced):
    """The cache shared by all units."""

    capacity_bytes: Bytes = Field(alias="capacity")
    bandwidth_bytes_per_s: BytesPerSecond | None = Field(None, alias="bandwidth")


class Link(Sourced):
    """A link in one direction, as one device sees it."""

    kind: str
    bandwidth_bytes_per_s: BytesPerSecond = Field(alias="bandwidth", description="one way")
    achievable_bytes_per_s: BytesPerSecond | None = Field(None, alias="achievable")
    latency_s: Seconds = Field(5e-6, alias="latency", description="of one message, first byte")
    links: int | None = None
    topology: str | None = None
    reach: int = Field(8, ge=1, description="how many devices the link joins")


class Launch(Sourced):
    """Time between two dependent small kernels, launched one by one or replayed as a graph."""

    eager_s: Seconds = Field(alias="eager")
    graph_s: Seconds = Field(alias="graph")


class Power(Sourced):
    """Board power: the limit, and what the board draws when it moves and computes nothing."""

    limit_w: Watts = Field(alias="limit")
    floor_w: Watts = Field(alias="floor")


class Energy(Sourced):
    """Marginal energy of the whole board per byte of memory traffic and per matrix FLOP at 16 bits."""

    per_byte_joules: JoulesPerByte = Field(alias="per_byte")
    per_flop_joules: JoulesPerFlop = Field(alias="per_flop")


class Price(Sourced):
    """Rent of one device for one hour."""

    per_hour_usd: UsdPerHour = Field(alias="per_hour")
    low_usd: UsdPerHour | None = Field(None, alias="low")
    high_usd: UsdPerHour | None = Field(None, alias="high")
    as_of: str


class Measured(Sourced):
    """Best rates that others measured; shown beside the specification, never used as an efficiency."""

    stream_read_bytes_per_s: BytesPerSecond | None = Field(None, alias="stream_read")
    stream_scale_bytes_per_s: BytesPerSecond | None = Field(None, alias="stream_scale")
    l2_read_bytes_per_s: BytesPerSecond | None = Field(None, alias="l2_read")
    attention_read_bytes_per_s: BytesPerSecond | None = Field(None, alias="attention_read")
    attention_bf16_flops_per_s: FlopsPerSecond | None = Field(None, alias="attention_bf16")
    gemm_bf16_flops_per_s: FlopsPerSecond | None = Field(None, alias="gemm_bf16")
    gemm_fp8_flops_per_s: FlopsPerSecond | None = Field(None, alias="gemm_fp8")


class Device(Document):
    """One accelerator (or one host processor) as its data sheet describes it."""

    name: str = Field(min_length=1)
    aliases: tuple[str, ...] = ()
    vendor: str
    architecture: str
    compute_capability: float | None = None
    form: str
    hbm: Memory
    matrix_peaks: Peaks
    vector_peaks: Peaks
    units: Units
    l2: LastLevelCache | None = None
    host_link: Link | None = None
    scale_up: Link | None = None
    scale_out: Link | None = None
    launch: Launch
    power: Power
    energy: Energy
    price: Price | None = None
    measured: Measured | None = None
    single_source: bool = False
    status: str
    notes: tuple[str, ...] = ()

    def matrix_dtype(self, dtype: Dtype) -> Dtype:
        """The dtype in which a matrix product of ``dtype`` really runs here (the device may lack a unit for it)."""
        for candidate in (dtype, *_FALLBACKS[dtype]):
            if getattr(self.matrix_peaks, candidate):
                return candidate
        return "fp32"

    def matrix_flops_per_s(self, dtype: Dtype) -> float:
        """Dense peak of a matrix product whose operands are ``dtype``, falling back as :meth:`matrix_dtype` does."""
        peak: float | None = getattr(self.matrix_peaks, self.matrix_dtype(dtype))
        return peak or self.vector_flops_per_s

    @property
    def has_switch(self) -> bool:
        """Whether the links inside a node meet in a switch."""
        topology = (self.scale_up.topology or "").lower() if self.scale_up else ""
        return topology.startswith(("nvswitch", "nvlink switch,"))

    @property
    def sums_in_switch(self) -> bool:
        """Whether that switch adds up an all-reduce: NVSwitch from Hopper on."""
        return self.has_switch and (self.compute_capability or 0.0) >= _SUMMING_CAPABILITY

    @property
    def vector_flops_per_s(self) -> float:
        """Peak of the vector (CUDA-core) unit in fp32, an FMA counted as 2."""
        peak = self.vector_peaks.fp32 or self.vector_peaks.fp16 or self.matrix_peaks.fp32
        return peak if peak else self.matrix_flops_per_s("bf16") / 16

    @property
    def is_processor(self) -> bool:
        """Whether this is the host's own processor: its units are cores, and no link lies between it and the host."""
        return self.form.endswith("socket")

    @property
    def is_card(self) -> bool:
        """Whether a serving engine could run on it: neither a host's processor nor a paper's accelerator."""
        return not self.is_processor and self.form not in {"asic", "simulated"}

    @property
    def native_fp8(self) -> bool:
        """Whether the matrix unit takes fp8 operands; without it every fp8 element is converted first."""
        return self.matrix_peaks.fp8 is not None


DEVICES = Library("kvwall.hardware", "devices", "device", Device)
