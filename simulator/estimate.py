"""The one estimate that prices: a setup on axes of batch and context, as bytes, seconds, tokens, joules and dollars."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from kvwall.simulator.blocks import blocks
from kvwall.simulator.cache import Cache
from kvwall.simulator.dense import dense_cache
from kvwall.simulator.engine_traffic import engine_traffic
from kvwall.simulator.execution import Execution
from kvwall.simulator.operators.forward import host_work
from kvwall.simulator.prices import LEVELS, Level, Prices
from kvwall.simulator.ragged import averaged
from kvwall.simulator.roofline import PricedTerm, price
from kvwall.simulator.setup import Setup
from kvwall.simulator.step import StepShape
from kvwall.simulator.traffic import Array, Numeric, Operator, Traffic

Phase = Literal["decode", "prefill"]


@dataclass(frozen=True)
class Axes:
    """The numeric axes of a question; they broadcast against each other.

    :ivar batch: sequences of the whole deployment
    :ivar context: tokens cached per sequence (in a prefill: with the tokens of the prefill)
    :ivar query_tokens: new tokens per sequence; by default 1 in decode and the whole context in a prefill
    :ivar generated: tokens of the context that were generated
    :ivar parts: of a ragged decode batch, the part of the sequences at each context; the step is then one point
    """

    batch: Numeric
    context: Numeric
    phase: Phase = "decode"
    query_tokens: Numeric | None = None
    generated: Numeric = 0.0
    parts: Array | None = None


@dataclass(frozen=True)
class Band:
    """A central 80 % band."""

    low: Numeric
    mid: Numeric
    high: Numeric


@dataclass(frozen=True)
class Estimate:
    """What a step costs, on broadcast axes; bytes and joules are of the whole deployment.

    :ivar step_s: seconds of one step, as a band
    :ivar ideal_s: the datasheet bound: peaks, perfect overlap, no latency
    :ivar lines: the bill at the middle of the band
    """

    setup: Setup
    axes: Axes
    step_s: Band
    ideal_s: Numeric
    weights_read_bytes: Numeric
    kv_stored_bytes: Numeric
    kv_read_bytes: Numeric
    kv_written_bytes: Numeric
    host_link_bytes: Numeric
    joules: Numeric
    lines: tuple[PricedTerm, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def tokens(self) -> Numeric:
        """Tokens that one step generates: one per sequence, or what a draft is expected to yield."""
        emitted = self.setup.emitted if self.axes.phase == "decode" else 1.0
        return np.asarray(self.axes.batch, dtype=np.float64) * emitted

    @property
    def tokens_per_s(self) -> Band:
        """Generated tokens of the whole deployment per second."""
        s = self.step_s
        return Band(self.tokens / s.high, self.tokens / s.mid, self.tokens / s.low)

    @property
    def usd_per_million_tokens(self) -> Numeric | None:
        """Dollars per million generated tokens; ``None`` where no price is known."""
        hourly = self.setup.usd_per_hour
        if hourly is None:
            return None
        return hourly / 3600 * self.step_s.mid / self.tokens * 1e6 / self.setup.paid_utilization


def estimate(setup: Setup, axes: Axes, keep_lines: bool = True) -> Estimate:
    """Price one step of ``setup`` at every point of ``axes``.

    :raises ForbiddenError: a scheme that the architecture forbids
    """
    setup.stack.check(setup.architecture)
    cache, shape = rank_step(setup, axes)
    traffic = engine_traffic(setup, cache, shape)
    host = _host(setup, cache, shape)
    real = replace(traffic, operators=(*traffic.operators, host))
    ndim = np.broadcast(axes.batch, axes.context).ndim
    passes = shape.passes if cache.prefill else None
    prices = _prices(setup, cache.execution, LEVELS, ndim, passes)
    if keep_lines:
        bill = price(real, _prices(setup, cache.execution, ("mid",), passes=passes), keep_lines=True)
        ends = _prices(setup, cache.execution, ("low", "high"), ndim, passes)
        (low, high), mid, lines = np.asarray(price(real, ends).step_s), bill.step_s, bill.lines
    else:
        (low, mid, high), lines = np.asarray(price(real, prices).step_s), ()
    # The bound knows no chunks: a prefill in one pass reads the weights once.
    single = traffic if np.all(shape.passes == 1.0) else engine_traffic(setup, cache, replace(shape, passes=1.0))
    ideal = price(single, prices.peaks).step_s
    return Estimate(
        setup=setup,
        axes=axes,
        step_s=Band(low, mid, high),
        ideal_s=ideal,
        weights_read_bytes=traffic.total("weights"),
        kv_stored_bytes=stored_bytes(setup, cache) * np.asarray(axes.batch, dtype=np.float64),
        kv_read_bytes=traffic.total("kv read"),
        kv_written_bytes=traffic.total("kv written"),
        host_link_bytes=traffic.resource_total("host link in") + traffic.resource_total("host link out"),
        joules=_joules(setup, traffic, mid),
        lines=lines,
        notes=traffic.notes,
    )


def step_operators(setup: Setup, axes: Axes) -> tuple[Traffic, Prices]:
    """Everything that one rank and its host pay in a step, and the prices at both ends and the middle of the band."""
    cache, shape = rank_step(setup, axes)
    traffic = engine_traffic(setup, cache, shape)
    ndim, passes = np.broadcast(axes.batch, axes.context).ndim, shape.passes if cache.prefill else None
    real = replace(traffic, operators=(*traffic.operators, _host(setup, cache, shape)))
    return real, _prices(setup, cache.execution, LEVELS, ndim, passes)


def rank_step(setup: Setup, axes: Axes) -> tuple[Cache, StepShape]:
    """The rewritten cache of one rank and the shape of its step."""
    d = setup.deployment
    batch = np.asarray(axes.batch, dtype=np.float64)
    # A sequence is not cut over replicas: the busiest one sets the pace.
    resident = np.ceil(batch / (d.dp * d.attn_dp))
    prefill = axes.phase == "prefill"
    microbatches: Numeric = 1.0 if prefill or d.pp == 1 else np.clip(batch / d.dp, 1.0, d.pp)
    context = np.asarray(axes.context, dtype=np.float64)
    query = axes.query_tokens
    if query is None:
        query = context if prefill else np.float64(1.0 + (setup.speculation.verified if setup.speculation else 0))
    dense = dense_cache(
        setup.model,
        resident / microbatches,
        context,
        generated=axes.generated,
        query_tokens=query,
        prefill=prefill,
        resident=resident,
    )
    cache = setup.stack.rewrite(dense)
    if axes.parts is not None:
        cache = averaged(cache, axes.parts)
    passes: Numeric = cache.execution.blocks
    if prefill and cache.execution.blocks == 1:
        passes = np.maximum(1.0, np.ceil(resident * d.attn_dp * cache.query_tokens / setup.batched_tokens))
    up = setup.system.device.scale_up
    reach = up.reach if up else 1
    breadth = setup.engine.serving.routing_breadth.mid
    shape = StepShape(
        setup.model,
        setup.arithmetic,
        d,
        setup.system.per_node,
        reach,
        microbatches,
        passes,
        breadth,
        whole_vocabulary=not setup.engine.splits_vocabulary,
        all_logits=setup.engine.logits_of_prompts == "all",
        switch_sums=setup.system.device.sums_in_switch,
    )
    return cache, shape


def _prices(
    setup: Setup, run: Execution, levels: tuple[Level, ...], ndim: int = 0, passes: Numeric | None = None
) -> Prices:
    """Prices at ends of the band. An engine without graphs launches layer by layer, and a step waits for its host.

    :param passes: of a prefill, which some engines launch kernel by kernel even where they replay decode steps
    """
    host, layers = setup.engine.host, setup.model.layers
    launch_s: list[Numeric] = []
    slower = setup.system.node.host.launch_s / host.reference_launch_s
    waits = setup.eager or not setup.engine.replays_graphs
    for level in LEVELS:
        eager = getattr(host.eager_per_layer_s, level) * layers if waits else 0.0
        prompt = 0.0 if passes is None else getattr(host.prefill_per_layer_s, level) * setup.dense_layers * passes
        launch_s.append(np.maximum(eager, prompt) * slower)
    shares = (run.compute_share, run.memory_share)
    return Prices(setup.system, setup.calibration, levels, ndim, launch_s, setup.kernels, *shares)


def _host(setup: Setup, cache: Cache, shape: StepShape) -> Operator:
    """The engine's own work on the host; every replica does its own, side by side."""
    host, layers = setup.engine.host, setup.expert_layers
    step, layer, sequence = host.per_step_s, host.per_moe_layer_s, host.per_sequence_s
    per_step = (step.low + layer.low * layers, step.mid + layer.mid * layers, step.high + layer.high * layers)
    per_sequence = (sequence.low, sequence.mid, sequence.high)
    sequences = cache.batch * shape.microbatches * setup.deployment.attn_dp
    return host_work(per_step, per_sequence, sequences, host.source)


def stored_bytes(setup: Setup, cache: Cache) -> Numeric:
    """Bytes that one sequence occupies over all ranks, wherever they lie, replicas of KV heads counted."""
    d = setup.deployment
    total: Numeric = np.float64(0.0)
    for group in cache.groups:
        for tensor in group.tensors:
            copies = tensor.share(d.attention_tp) * d.attention_tp / (1 if tensor.divisible else d.dcp)
            total = total + group.layers * tensor.stored_bytes() * copies
    return total * setup.model.guidance


def _joules(setup: Setup, traffic: Traffic, step_s: Numeric) -> Numeric:
    """Energy of one step: ``min(limit t, floor t + e_byte bytes + e_flop FLOP)`` over all devices."""
    device, count = setup.system.device, setup.deployment.gpus
    moved = traffic.resource_total("hbm") * device.energy.per_byte_joules
    computed = (traffic.resource_total("matrix") + traffic.resource_total("vector")) * device.energy.per_flop_joules
    floor = device.power.floor_w * count * step_s
    return np.minimum(device.power.limit_w * count * step_s, floor + moved + computed)


def estimate_grid(setup: Setup, batch: Array, context: Array, phase: Phase = "decode") -> Estimate:
    """The estimate on the full grid ``batch x context``, without lines, block by block.

    :param batch: sequences, shape (b,)
    :param context: tokens per sequence, shape (c,)
    :returns: arrays of shape (b, c)
    """
    parts = [
        estimate(setup, Axes(part[:, None], context[None, :], phase), keep_lines=False)
        for part in blocks(batch, context)
    ]

    def joined(values: list[Numeric]) -> Array:
        shapes = [(np.shape(part.tokens)[0], context.size) for part in parts]
        return np.concatenate([np.broadcast_to(v, shape) for v, shape in zip(values, shapes, strict=True)])

    names = ("weights_read_bytes", "kv_stored_bytes", "kv_read_bytes", "kv_written_bytes", "host_link_bytes", "joules")
    columns: dict[str, Any] = {name: joined([getattr(part, name) for part in parts]) for name in names}
    band = Band(*(joined([getattr(part.step_s, level) for part in parts]) for level in ("low", "mid", "high")))
    return Estimate(
        setup=setup,
        axes=Axes(batch[:, None], context[None, :], phase),
        step_s=band,
        ideal_s=joined([part.ideal_s for part in parts]),
        notes=parts[0].notes,
        **columns,
    )
