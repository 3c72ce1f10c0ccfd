"""Rates that a paper fitted to its own runs on one machine: what its own cost model multiplies with."""

from __future__ import annotations

from pydantic import Field

from kvwall.hardware.document import Sourced
from kvwall.hardware.quantity import BytesPerSecond, FlopsPerSecond


class OffloadRates(Sourced):
    """Achieved rates of copies and products of an offloading engine, apart for prefill and generation."""

    host_to_device: BytesPerSecond
    device_to_host_cache: BytesPerSecond
    device_to_host_hidden: BytesPerSecond
    drive_to_host: BytesPerSecond
    host_to_drive_cache_prefill: BytesPerSecond
    host_to_drive_hidden_prefill: BytesPerSecond
    host_to_drive_generation: BytesPerSecond
    matrix_prefill: FlopsPerSecond = Field(description="products with weights")
    matrix_generation: FlopsPerSecond
    batched_prefill: FlopsPerSecond = Field(description="batched products of attention")
    batched_generation: FlopsPerSecond
    host_attention: FlopsPerSecond = Field(description="attention on the processors")
    device_memory: BytesPerSecond = Field(description="element by element passes over device memory")
