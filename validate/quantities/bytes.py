"""Bytes of a point: what is stored, read and written, on all devices together unless said otherwise."""

from __future__ import annotations

from kvwall.simulator.dense import dense_cache
from kvwall.validate.reproducing.point import Point, quantity


@quantity
def kv_stored_bytes(point: Point) -> float:
    """Cache of all sequences, wherever it lies."""
    return float(point.found.kv_stored_bytes)


@quantity
def kv_bytes_per_token(point: Point) -> float:
    """Stored bytes of one sequence over its context: constants per sequence count."""
    return kv_stored_bytes(point) / point.batch / point.context


@quantity
def kv_bits_per_element(point: Point) -> float:
    """Stored bits over the elements of the dense cache."""
    dense = float(dense_cache(point.setup.architecture, point.batch, point.context).stored_bytes()) * point.batch
    return kv_stored_bytes(point) / dense * 16.0


@quantity
def kv_device_bytes(point: Point) -> float:
    """What all sequences occupy in device memory, fullest rank, in the engine's blocks."""
    return float(point.capacity.sequence_bytes(point.context, sequences=point.batch)) * point.batch


@quantity
def kv_read_bytes(point: Point) -> float:
    """Cache that one step reads."""
    return float(point.found.kv_read_bytes)


@quantity
def kv_written_bytes(point: Point) -> float:
    """Cache that one step writes."""
    return float(point.found.kv_written_bytes)


@quantity
def weights_read_bytes(point: Point) -> float:
    """Weights that one step reads."""
    return float(point.found.weights_read_bytes)


@quantity
def host_link_bytes(point: Point) -> float:
    """Bytes over the host link in one step, both ways."""
    return float(point.found.host_link_bytes)


@quantity
def weights_bytes(point: Point) -> float:
    """Parameters times bits on the fullest rank."""
    return float(point.capacity.weights_arithmetic_bytes)


@quantity
def weights_bits(point: Point) -> float:
    """Mean stored bits of a parameter, embedding and head included."""
    wide = point.at(weights="bf16")
    return weights_bytes(point) / weights_bytes(wide) * 16.0


@quantity
def peak_memory_bytes(point: Point) -> float:
    """Weights, reserve and the cache of the batch on the fullest rank, with a prompt that is still whole."""
    capacity, prompt = point.capacity, point.words["input"] or point.context
    cache = kv_device_bytes(point) / (point.setup.deployment.dp * point.setup.deployment.attn_dp)
    return capacity.weights.mid + capacity.reserve.total.mid + cache + float(capacity.prompt_extra_bytes(prompt))
