"""Whole images of visual autoregressive models: one step for each scale."""

from __future__ import annotations

import numpy as np

from kvwall.simulator.estimate import Axes, Estimate, estimate
from kvwall.validate.reproducing.point import Point, quantity


@quantity
def image_s(point: Point) -> float:
    """All scales of ``batch`` images."""
    return float(np.sum(_scales(point).step_s.mid))


@quantity
def image_attention_flops(point: Point) -> float:
    """FLOP of attention kernels over all scales, without what choosing tokens takes."""
    return sum(
        float(np.sum(line.term.amount))
        for line in _scales(point).lines
        if line.term.resource == "matrix" and line.operator.startswith("decode attention")
    )


@quantity
def image_memory_bytes(point: Point) -> float:
    """Weights, reserve and the cache that a batch of images leaves after its last scale."""
    tokens = float(sum(point.setup.model.scales))
    cache = float(point.capacity.sequence_bytes(tokens, sequences=point.batch)) * point.batch
    return point.capacity.weights.mid + point.capacity.reserve.total.mid + cache


def _scales(point: Point) -> Estimate:
    """One step a scale: its tokens are the queries, and all earlier ones are cached."""
    new = np.asarray(point.setup.model.scales, dtype=np.float64)
    return estimate(point.setup, Axes(point.batch, np.cumsum(new) - new, query_tokens=new))
