"""Kernel times of a closed loop: what the devices take for each pass, and what the host adds to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kvwall.hardware.band import SecondsBand
from kvwall.hardware.engine import Engine
from kvwall.simulator.estimate import Axes, estimate
from kvwall.simulator.planning.load import Load
from kvwall.simulator.planning.service import Kernels
from kvwall.simulator.prices import LEVELS, Level
from kvwall.simulator.setup import Setup
from kvwall.simulator.traffic import Array


@dataclass(frozen=True, eq=False)
class DeviceTimes:
    """Seconds of passes on the devices of one replica at n batches, at one end of the band.

    :ivar step_s: decode step, shape (n,)
    :ivar empty_s: the same step without a context: what a pass costs before any prompt is in it, shape (n,)
    :ivar alone_s: prefill of a request of each class alone, shape (classes,)
    :ivar mixed_s: passes that hold the prefill of a class and the tokens of a batch, shape (classes, n)
    :ivar alone_passes: passes of a prefill alone, shape (classes,)
    :ivar passes: likewise beside a batch, shape (classes, n)
    """

    step_s: Array
    empty_s: Array
    alone_s: Array
    mixed_s: Array
    alone_passes: Array
    passes: Array


@dataclass(frozen=True)
class HostTimes:
    """Seconds that the host adds.

    :ivar step_s: to each step
    :ivar sequence_s: to each step for each sequence
    :ivar prompt_pass_s: least time of a pass that holds a prompt
    """

    step_s: float
    sequence_s: float
    prompt_pass_s: float


def host_times(setup: Setup, level: Level) -> HostTimes:
    """The host's times of the engine profile at one end of the band."""
    host = setup.engine.host
    per_step = getattr(host.per_step_s, level) + getattr(host.per_moe_layer_s, level) * setup.expert_layers
    prompt = getattr(host.prefill_per_layer_s, level) * setup.dense_layers
    return HostTimes(per_step, getattr(host.per_sequence_s, level), prompt)


def device_times(setup: Setup, load: Load, per_rank: Array) -> tuple[dict[Level, DeviceTimes], Array]:
    """Times of all passes at both ends of the band and between, and the data-sheet bound of the decode step.

    :param per_rank: sequences of one attention group of ranks, shape (n,)
    """
    bare = replace(setup, engine=without_host(setup.engine))
    d = setup.deployment
    unit, n = d.dp * d.attn_dp, per_rank.size
    sequences = np.append(per_rank, per_rank) * unit
    context = np.append(np.full(n, load.decode_context_tokens), np.ones(n))
    generated = np.append(np.full(n, load.decode_generated_tokens), np.zeros(n))
    decode = estimate(bare, Axes(sequences, context, generated=generated), keep_lines=False)
    alone = estimate(bare, Axes(float(unit), load.inputs, "prefill"), keep_lines=False)
    passes = prefill_passes(setup, load, per_rank)
    with_decodes = load.inputs[:, None] + passes * per_rank
    mixed = estimate(bare, Axes(float(unit), with_decodes, "prefill"), keep_lines=False)
    times: dict[Level, DeviceTimes] = {}
    for level in LEVELS:
        steps = np.broadcast_to(np.asarray(getattr(decode.step_s, level)), sequences.shape)
        times[level] = DeviceTimes(
            steps[:n],
            steps[n:],
            np.broadcast_to(np.asarray(getattr(alone.step_s, level)), load.inputs.shape),
            np.broadcast_to(np.asarray(getattr(mixed.step_s, level)), passes.shape),
            prefill_passes(setup, load, np.zeros(1))[:, 0],
            passes,
        )
    return times, np.broadcast_to(np.asarray(decode.ideal_s), sequences.shape)[:n]


def prefill_passes(setup: Setup, load: Load, per_rank: Array) -> Array:
    """Passes that the prefill of each class takes beside each batch, whose tokens go first: shape (classes, n).

    A pass has room for an eighth of its tokens at least, however many sequences decode.
    """
    tokens = np.maximum(1.0, load.inputs - load.prefixes)[:, None]
    whole = setup.batched_tokens / setup.deployment.attn_dp
    return np.asarray(np.maximum(1.0, np.ceil(tokens / np.maximum(whole - per_rank, whole / 8))))


def loop_kernels(setup: Setup, load: Load, device: DeviceTimes, host: HostTimes, per_rank: Array) -> Kernels:
    """Kernel times of one replica with its host.

    What a prefill adds is the difference of passes with and without its chunks, ``max(K(n B + p), n e) - n K(B)`` over
    n passes of at least e: the B sequences that decode have a token in each pass, read the weights and touch experts
    anyway.
    """
    d = setup.deployment
    steps = device.step_s + host.step_s + host.sequence_s * per_rank * d.attn_dp
    alone = np.maximum(device.alone_s, host.prompt_pass_s * device.alone_passes) + host.step_s + host.sequence_s
    mixed = np.maximum(device.mixed_s, host.prompt_pass_s * device.passes)
    added = load.shares @ np.maximum(0.0, mixed - device.passes * device.empty_s)
    return Kernels(steps, float(load.shares @ alone), added, added / (d.pp * d.attn_dp))


def without_host(engine: Engine) -> Engine:
    """``engine`` whose host costs no time beyond eager launches."""
    nothing = SecondsBand(low=0.0, mid=0.0, high=0.0, source="left out")
    names = ("per_step_s", "per_sequence_s", "per_moe_layer_s", "prefill_per_layer_s")
    host = engine.host.model_copy(update=dict.fromkeys(names, nothing))
    return engine.model_copy(update={"host": host})
