"""Rates of a tensor-parallel model with fewer all-reduces: none, or one a layer with attention and MLP side by side.

Zhang et al. 2025, Ladder-Residual, arXiv 2501.06589, sections 3 and 5.
"""

from __future__ import annotations

import numpy as np

from kvwall.simulator.estimate import Axes, estimate
from kvwall.validate.reproducing.point import Point, quantity

#: A decode step is priced at this many lengths between the first and the last generated token.
_SAMPLES = 9


@quantity
def silent_tokens_per_s(point: Point) -> float:
    """Generated tokens over prefill and decode of one batch whose all-reduces take no time."""
    return _tokens_per_s(point, kept=0.0)


@quantity
def parallel_tokens_per_s(point: Point) -> float:
    """The same with one all-reduce a layer: attention and MLP take the same input, and their outputs are summed."""
    return _tokens_per_s(point, kept=0.5)


@quantity
def silent_gain_x(point: Point) -> float:
    """Tokens per second without communication over those with it."""
    return _tokens_per_s(point, kept=0.0) / _tokens_per_s(point, kept=1.0)


def _tokens_per_s(point: Point, kept: float) -> float:
    prompt, count = float(point.words["input"]), float(point.words["output"])
    prefill = _seconds(point, Axes(point.batch, prompt, "prefill"), kept)
    lengths = prompt + np.linspace(0.0, count - 1, _SAMPLES)
    steps = [_seconds(point, Axes(point.batch, float(length)), kept) for length in lengths]
    return point.batch * count / (prefill + count * float(np.mean(steps)))


def _seconds(point: Point, axes: Axes, kept: float) -> float:
    found = estimate(point.setup, axes)
    network = sum(float(line.charged_s) for line in found.lines if line.owner == "network")
    return float(found.step_s.mid) - (1.0 - kept) * network
