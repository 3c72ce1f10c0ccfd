"""Seconds and rates of a point: one step, its attention, a prefill, a whole generation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kvwall.simulator.estimate import Axes, Estimate, estimate
from kvwall.validate.reproducing.point import Point, quantity

#: Which lines count, by owner and operator.
Chosen = Callable[[str, str], bool]
#: Owners of lines that are not attention, so that what a scheme adds counts as attention.
_ELSEWHERE = frozenset({"feed-forward", "head", "network", "host", "elementwise", "weights"})
#: Products with the attention's weights: part of the layer, not of what papers time as attention.
_PROJECTIONS = ("projection", "norm", "factors")
#: Answers are priced at this many lengths between the first and the last token.
_SAMPLES = 33


@quantity
def step_s(point: Point) -> float:
    """One step."""
    return float(point.found.step_s.mid)


@quantity
def ideal_step_s(point: Point) -> float:
    """One step at the data sheet's bound."""
    return float(point.found.ideal_s)


@quantity
def tokens_per_s(point: Point) -> float:
    """Generated tokens per second of one decode step at this context."""
    return float(point.found.tokens_per_s.mid)


@quantity
def attention_s(point: Point) -> float:
    """Attention over the cache and what schemes add to it, all layers, without projections."""
    return _charged(point.found, _is_attention)


@quantity
def attention_layer_s(point: Point) -> float:
    """The same in one layer."""
    return attention_s(point) / point.setup.model.layers


@quantity
def ideal_attention_s(point: Point) -> float:
    """The same at the data sheet's peaks: per operator the longest of its compulsory terms."""
    operators: dict[str, dict[str, float]] = {}
    device = point.setup.system.device
    for line in point.found.lines:
        if not line.term.compulsory or not _is_attention(line.owner, line.operator):
            continue
        peak = {"hbm": device.hbm.bandwidth_bytes_per_s, "vector": device.vector_flops_per_s}.get(line.term.resource)
        if line.term.resource == "matrix":
            peak = device.matrix_flops_per_s(line.term.dtype)
        if line.term.resource == "host link in" and device.host_link is not None:
            peak = device.host_link.bandwidth_bytes_per_s
        if peak is not None:
            busy = operators.setdefault(line.operator, {})
            busy[line.term.resource] = busy.get(line.term.resource, 0.0) + float(line.term.amount) / peak
    return sum(max(busy.values()) for busy in operators.values())


@quantity
def matrix_flops(point: Point) -> float:
    """FLOP on matrix units in one step, all devices."""
    return _on_matrix(point.found, lambda owner, name: True)


@quantity
def attention_flops(point: Point) -> float:
    """FLOP of attention over the cache and of what schemes add, all devices."""
    return _on_matrix(point.found, _is_attention)


@quantity
def prefill_s(point: Point) -> float:
    """Prefill of the batch, each prompt ``input`` (or ``context``) tokens long."""
    return float(estimate(point.setup, _prefill_axes(point), keep_lines=False).step_s.mid)


@quantity
def prefill_flops(point: Point) -> float:
    """FLOP on matrix units of that prefill."""
    return _on_matrix(estimate(point.setup, _prefill_axes(point)), lambda owner, name: True)


@quantity
def decode_s(point: Point) -> float:
    """All decode steps from the first to the last of ``output`` tokens."""
    first, count = float(point.words["input"]), float(point.words["output"])
    generated = np.linspace(0.0, count - 1, _SAMPLES)
    axes = Axes(point.batch, first + generated, generated=generated)
    steps = np.broadcast_to(estimate(point.setup, axes, keep_lines=False).step_s.mid, generated.shape)
    tokens_per_step = float(np.mean(estimate(point.setup, axes, keep_lines=False).tokens)) / point.batch
    return float(np.mean(steps)) * count / tokens_per_step


@quantity
def decode_tokens_per_s(point: Point) -> float:
    """Generated tokens per second of the decode steps of a whole answer."""
    return point.batch * float(point.words["output"]) / decode_s(point)


@quantity
def offline_tokens_per_s(point: Point) -> float:
    """Generated tokens over prefill and decode of one batch: how offline benchmarks count."""
    return point.batch * float(point.words["output"]) / (prefill_s(point) + decode_s(point))


def _prefill_axes(point: Point) -> Axes:
    prompt = point.words["input"] or point.context
    return Axes(point.batch, float(prompt), "prefill")


def _is_attention(owner: str, operator: str) -> bool:
    return owner not in _ELSEWHERE and not any(word in operator for word in _PROJECTIONS)


def _charged(found: Estimate, chosen: Chosen) -> float:
    return sum(float(line.charged_s) for line in found.lines if chosen(line.owner, line.operator))


def _on_matrix(found: Estimate, chosen: Chosen) -> float:
    return sum(
        float(line.term.amount) * float(line.ranks)
        for line in found.lines
        if line.term.resource == "matrix" and chosen(line.owner, line.operator)
    )
