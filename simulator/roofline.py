"""The price: seconds of every term, operator and step. The one place where traffic meets a machine.

An operator's time is the smooth maximum of the times of its resources plus its latency. Operators of one stream add
up; a step is the longest stream. A term has the seconds it would take alone and the seconds charged to the step:
within an operator the resource that binds is charged in full, what hides under it nothing, and what a smooth maximum
or a latency adds is a line of its own. The charged seconds add up to the step exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kvwall.simulator.kernel_prices import KernelTime
from kvwall.simulator.prices import WAITS, Prices
from kvwall.simulator.traffic import Numeric, Operator, Resource, Stream, Term, Traffic

_OVERLAP = "(t1^p + t2^p + ...)^(1/p) - max(t1, t2, ...)"
#: Waits of a step: what they are called, and their equation.
_STAGE = ("wait for the slowest stage", "max(0, microbatches * slowest stage - step)")
_LAUNCH = ("wait for launches", "max(0, layers * eager time per layer - step)")


#: What a kernel's time is known from: a fit of this device and framework, a fit lent by another, the fit of a plain
#: kernel carried over to what nobody measured, or documented efficiencies of its class.
Basis = Literal["fitted", "borrowed", "carried over", "class default"]


@dataclass(frozen=True)
class PricedTerm:
    """A line of the bill.

    :ivar owner: part of the model, or scheme
    :ivar operator: the kernel that pays it
    :ivar term: amount, equation and reference
    :ivar ranks: ranks that pay it
    :ivar alone_s: seconds it would take by itself on its resource
    :ivar charged_s: its part of the step
    :ivar basis: what the time of its operator is known from
    """

    owner: str
    operator: str
    term: Term
    ranks: Numeric
    alone_s: Numeric
    charged_s: Numeric
    basis: Basis = "class default"


@dataclass(frozen=True)
class Bill:
    """Seconds of a step and, if kept, its lines."""

    step_s: Numeric
    lines: tuple[PricedTerm, ...] = ()


def price(traffic: Traffic, prices: Prices, keep_lines: bool = False) -> Bill:
    """The bill of one step."""
    lines: list[tuple[Stream, PricedTerm]] = []
    streams: dict[Stream, Numeric] = {"compute": np.float64(0.0)}
    parts: dict[str, Numeric] = {"head": np.float64(0.0), "host": np.float64(0.0)}
    for operator in traffic.operators:
        seconds, own = _operator(operator, prices, keep_lines)
        streams[operator.stream] = streams.get(operator.stream, 0.0) + seconds
        if operator.owner in parts:
            parts[operator.owner] = parts[operator.owner] + seconds
        lines += [(operator.stream, line) for line in own]
    stage_s: Numeric = np.float64(0.0)
    if traffic.pipeline is not None:
        stage_s = traffic.pipeline.slowest(streams["compute"] - parts["head"] - parts["host"], parts["head"])
    return _longest_stream(streams, stage_s, prices.host_launch_s, lines, keep_lines)


def _operator(operator: Operator, prices: Prices, keep_lines: bool) -> tuple[Numeric, list[PricedTerm]]:
    """Seconds of one operator and its lines."""
    kernel = prices.kernel(operator.call)
    if kernel is not None:
        return _calibrated(operator, _divided(operator, kernel, prices), prices, keep_lines)
    if operator.basis is not None and prices.kernel(operator.basis.call) is not None:
        return _carried_over(operator, operator.basis, prices, keep_lines)
    chosen = [t for t in operator.terms if t.compulsory] if prices.ideal else operator.terms
    alone = [prices.seconds(operator.kind, t) for t in chosen]
    busy: dict[Resource, Numeric] = {}
    waiting: Numeric = np.float64(0.0)
    for t, seconds in zip(chosen, alone, strict=True):
        if t.resource in WAITS:
            waiting = waiting + seconds
        else:
            busy[t.resource] = busy[t.resource] + seconds if t.resource in busy else seconds
    longest, smooth = _maximum(list(busy.values()), prices.sharpness)
    latency = operator.launches * prices.floor_s(operator.kind)
    total = smooth + latency + waiting
    if not keep_lines:
        return total, []
    lines = []
    binds = _binding(busy, longest)
    for t, seconds in zip(chosen, alone, strict=True):
        charged = seconds if t.resource in WAITS else np.where(binds[t.resource], seconds, 0.0)
        lines.append(PricedTerm(operator.owner, operator.name, t, operator.ranks, seconds, charged))
    lines += _residual_lines(operator, smooth - longest, latency, prices.floor_s(operator.kind))
    return total, lines


def _divided(operator: Operator, kernel: KernelTime, prices: Prices) -> KernelTime:
    """``kernel`` where it has only a part of the device: slower as the class of such kernels is."""
    if prices.undivided is prices:
        return kernel
    unknown = replace(operator, call=None, basis=None)
    part, _ = _operator(unknown, prices, keep_lines=False)
    whole, _ = _operator(unknown, prices.undivided, keep_lines=False)
    return KernelTime(kernel.seconds * (part / whole), kernel.source)


def _calibrated(
    operator: Operator, kernel: KernelTime, prices: Prices, keep_lines: bool
) -> tuple[Numeric, list[PricedTerm]]:
    """Seconds of an operator whose kernel a calibration knows: never below the data sheet, never below what is known.

    The resource that binds at the data sheet's peak is charged in full; all else that the kernel takes is one line.
    The messages of a collective are part of what was measured.
    """
    alone = {id(t): prices.peaks.seconds(operator.kind, t) for t in operator.terms if t.resource not in WAITS}
    apart = [t for t in operator.terms if t.resource in WAITS and operator.kind != "collective"]
    waits = [(t, prices.seconds(operator.kind, t)) for t in apart]
    busy: dict[Resource, Numeric] = {}
    for t in operator.terms:
        if t.compulsory and t.resource not in WAITS:
            busy[t.resource] = busy.get(t.resource, 0.0) + alone[id(t)]
    longest, _ = _maximum(list(busy.values()), float("inf"))
    total = np.maximum(kernel.seconds, longest)
    waiting: Numeric = sum((seconds for _, seconds in waits), start=np.float64(0.0))
    if not keep_lines:
        return total + waiting, []
    binds = _binding(busy, longest)
    lines = [PricedTerm(operator.owner, operator.name, t, operator.ranks, seconds, seconds) for t, seconds in waits]
    for t in operator.terms:
        if t.resource in WAITS:
            continue
        seconds = alone[id(t)]
        charged = np.where(binds[t.resource], seconds, 0.0) if t.compulsory else np.zeros(np.shape(seconds))
        lines.append(PricedTerm(operator.owner, operator.name, t, operator.ranks, seconds, charged))
    symbols: dict[str, Numeric] = {"kernel": total, "roofline": longest}
    rest = Term("beyond the data sheet", "latency", total - longest, "kernel - roofline", symbols, kernel.source)
    basis: Basis = "borrowed" if "borrowed" in kernel.source else "fitted"
    return total + waiting, [replace(line, basis=basis) for line in (*lines, _line(operator, rest))]


def _carried_over(
    operator: Operator, basis: Operator, prices: Prices, keep_lines: bool
) -> tuple[Numeric, list[PricedTerm]]:
    """Seconds of a kernel that nobody measured: those of a plain one that reads as many bytes, and what it does beside.

    ``smooth maximum(known, vector, matrix) + further launches``: what a calibration knows of the plain kernel (latency,
    what it reaches of the memory) holds for as many bytes of any format; unpacking overlaps it and launches come on
    top, both by their class defaults. So two schemes differ by their work and not by who was measured.
    """
    own, lines = _operator(replace(operator, basis=None), prices, keep_lines)
    known, _ = _operator(basis, prices, keep_lines=False)
    beside: dict[Resource, Numeric] = {}
    for t in operator.terms:
        if t.resource in {"matrix", "vector"}:
            beside[t.resource] = beside.get(t.resource, 0.0) + prices.seconds(operator.kind, t)
    _, together = _maximum([known, *beside.values()], prices.sharpness)
    more = np.maximum(operator.launches - basis.launches, 0.0) * prices.floor_s(operator.kind)
    factor = (together + more) / own * prices.carried_spread
    bound, _ = _operator(replace(operator, basis=None), prices.peaks, keep_lines=False)
    total = np.maximum(own * factor, bound)
    if not keep_lines:
        return total, []
    scaled = [replace(line, alone_s=line.alone_s * factor, charged_s=line.charged_s * factor) for line in lines]
    rest = total - own * factor
    if np.any(rest):
        symbols: dict[str, Numeric] = {"bound": bound, "carried": own * factor}
        short = Term("up to the data sheet", "latency", rest, "max(bound, carried) - carried", symbols, "hard bound")
        scaled.append(_line(operator, short))
    return total, [replace(line, basis="carried over") for line in scaled]


def _binding(busy: dict[Resource, Numeric], longest: Numeric) -> dict[Resource, NDArray[np.bool_]]:
    """Where each resource is the longest; the first of several."""
    free = np.ones(np.shape(longest), dtype=np.bool_)
    binds: dict[Resource, NDArray[np.bool_]] = {}
    for resource, seconds in busy.items():
        binds[resource] = free & np.greater_equal(seconds, longest)
        free = free & ~binds[resource]
    return binds


def _residual_lines(operator: Operator, overlap: Numeric, latency: Numeric, floor_s: Numeric) -> list[PricedTerm]:
    """Lines for what a smooth maximum and launches add to the binding resource."""
    made = []
    if np.any(overlap):
        reference = "smooth maximum over the resources of a kernel"
        made.append(_line(operator, Term("imperfect overlap", "latency", overlap, _OVERLAP, {}, reference)))
    if np.any(latency):
        symbols: dict[str, Numeric] = {"N": operator.launches, "f": floor_s}
        reference = "kernel floor of the calibration, per launch"
        made.append(_line(operator, Term("launch and ramp", "latency", latency, "N * f", symbols, reference)))
    return made


def _line(operator: Operator, made: Term) -> PricedTerm:
    return PricedTerm(operator.owner, operator.name, made, operator.ranks, made.amount, made.amount)


def _maximum(times: list[Numeric], sharpness: float) -> tuple[Numeric, Numeric]:
    """The largest of ``times`` and their smooth maximum ``(sum t^p)^(1/p)``, scaled so that nothing overflows."""
    if not times:
        return np.float64(0.0), np.float64(0.0)
    longest = times[0]
    for other in times[1:]:
        longest = np.maximum(longest, other)
    if len(times) == 1 or not np.isfinite(sharpness):
        return longest, longest
    scale = np.where(longest > 0, longest, 1.0)
    total = sum((_power(t / scale, sharpness) for t in times), start=np.float64(0.0))
    return longest, np.maximum(longest, longest * _root(total, sharpness))


def _power(x: Numeric, p: float) -> Numeric:
    return np.square(np.square(x)) if p == 4 else np.power(x, p)


def _root(x: Numeric, p: float) -> Numeric:
    return np.sqrt(np.sqrt(x)) if p == 4 else np.power(x, 1 / p)


def _longest_stream(
    streams: dict[Stream, Numeric],
    stage_s: Numeric,
    host_launch_s: Numeric,
    lines: list[tuple[Stream, PricedTerm]],
    keep_lines: bool,
) -> Bill:
    """The longest stream is the step; a shorter stream beside the computation is hidden and charged nothing.

    A step is not shorter than the slowest stage of a pipeline takes for all parts of the batch, nor than its launches.
    """
    compute = streams["compute"]
    side = {name: seconds for name, seconds in streams.items() if name != "compute"}
    step = compute
    for seconds in side.values():
        step = np.maximum(step, seconds)
    waits_stage = np.maximum(0.0, stage_s - step)
    waits_launch = np.maximum(0.0, host_launch_s - step - waits_stage)
    busy, step = step, np.maximum(np.maximum(step, stage_s), host_launch_s)
    if not keep_lines:
        return Bill(step)
    left = busy - compute
    kept = [line for stream, line in lines if stream == "compute"]
    for name, seconds in side.items():
        # The stream that ends last is charged what sticks out, in proportion to its lines.
        pays = np.where((seconds >= busy) & (left > 0), left, 0.0)
        left = left - pays
        share = np.divide(pays, seconds, out=np.zeros(np.broadcast(pays, seconds).shape), where=np.asarray(seconds) > 0)
        for stream, line in lines:
            if stream == name:
                kept.append(replace(line, charged_s=line.charged_s * share))
    kept += _waits(waits_stage, "network", "pipeline", _STAGE, "stages of unlike length")
    kept += _waits(waits_launch, "host", "launches", _LAUNCH, "engine profile")
    return Bill(step, tuple(kept))


def _waits(seconds: Numeric, owner: str, name: str, told: tuple[str, str], reference: str) -> list[PricedTerm]:
    """The line of a wait, if there is any."""
    if not np.any(seconds > 0):
        return []
    resource: Resource = "host" if owner == "host" else "latency"
    return [PricedTerm(owner, name, Term(told[0], resource, seconds, told[1], {}, reference), 1.0, seconds, seconds)]
