"""The price of one combination over its batches: what fits first, then service figures for every batch at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kvwall.simulator.capacity import Capacity
from kvwall.simulator.planning.combinations import Combination, Rejected
from kvwall.simulator.planning.load import Load
from kvwall.simulator.planning.loop import device_times, host_times, loop_kernels
from kvwall.simulator.planning.question import Question
from kvwall.simulator.planning.service import Kernels, Service, serve
from kvwall.simulator.prices import LEVELS
from kvwall.simulator.traffic import Array

#: Neighbouring batches of the grid differ by a fifth: finer than any model of the time per token.
_GRID_RATIO = 2.0**0.25
#: Sequences that one rank is asked to decode at most.
_MOST_SEQUENCES = 65536
_GIB = 2.0**30


@dataclass(frozen=True)
class Priced:
    """Service figures of one combination; arrays over its batches.

    :ivar batch: sequences decoded at once in the whole deployment
    :ivar low: service at the low end of the band of times; ``mid`` and ``high`` likewise
    :ivar kernels: times at the middle of the band
    :ivar capacity: memory of one replica, for the mean sequence once it is complete
    :ivar usd_per_million_tokens: generated tokens; ``None`` where no price is known
    """

    combination: Combination
    batch: Array
    low: Service
    mid: Service
    high: Service
    kernels: Kernels
    ideal_step_s: Array
    capacity: Capacity
    usd_per_million_tokens: Array | None


def priced(combination: Combination, question: Question) -> Priced | Rejected:
    """``combination`` over all batches that fit and that its users can fill, or why none does."""
    setup, load = combination.setup, question.load
    capacity = Capacity(setup, load.held_context_tokens)
    held, longest = _held(capacity, load)
    refusal = _refusal(capacity, load, min(held, longest))
    if refusal is not None:
        return combination.rejected(refusal[0], "memory", refusal[1])
    d = setup.deployment
    unit = d.dp * d.attn_dp
    most = int(min(held, _MOST_SEQUENCES))
    holds = f"{most * unit:,} sequences of {load.held_context_tokens:,} tokens fit"
    if setup.max_num_seqs is not None and setup.max_num_seqs < most:
        # The attention groups of a replica are engines of their own, each with a largest batch.
        most = setup.max_num_seqs
        holds = f"--max-num-seqs {most:,} allows {most * unit:,} sequences"
    per_rank = _grid(most, unit, load.users, question.freedom.batches)
    if per_rank.size == 0:
        return combination.rejected(f"does not fit: no batch of --batch does ({holds})", "memory")
    return _price(combination, load, per_rank, capacity)


def _held(capacity: Capacity, load: Load) -> tuple[float, float]:
    """Sequences that one rank holds at once: of mean complete length, and of the longest request.

    One of them may be a longest request whose prompt is still being prefilled, before a scheme drops any of it.
    """
    setup, lengths = capacity.setup, (load.held_context_tokens, load.peak_context_tokens)
    stated = setup.overrides.kv_tokens
    mean, longest = (
        capacity.held_beside_prompt(float(tokens), float(load.peak_context_tokens))
        if stated is None
        else stated / tokens / setup.deployment.attn_dp
        for tokens in lengths
    )
    return float(mean), float(longest)


def _refusal(capacity: Capacity, load: Load, held: float) -> tuple[str, float | None] | None:
    """Why the cache pool cannot hold what is asked, and by which factor; or ``None``.

    :param held: requests of the longest kind, or mean ones where these are fewer, that a rank holds
    """
    setup, weights, reserve = capacity.setup, capacity.weights.mid, capacity.reserve.total.mid
    if setup.overrides.kv_bytes is None and setup.overrides.kv_tokens is None and capacity.pool.mid <= 0:
        usable = capacity.pool.mid + weights + reserve
        return (
            f"does not fit: weights {weights / _GIB:.1f} GiB and reserve {reserve / _GIB:.1f} GiB exceed the "
            f"{usable / _GIB:.1f} GiB that a rank may use",
            (weights + reserve) / usable if usable > 0 else None,
        )
    longest = float(load.peak_context_tokens)
    prompt = float(capacity.prompt_extra_bytes(longest))
    if held < 1 and prompt and float(capacity.held(capacity.kv.mid, longest)) >= 1:
        whole = float(capacity.sequence_bytes(longest)) + prompt
        return (
            f"does not fit: a prompt of {load.peak_context_tokens:,} tokens needs {whole / _GIB:.2f} GiB until its "
            f"last chunk is prefilled, the pool has {capacity.kv.mid / _GIB:.2f} GiB",
            whole / capacity.kv.mid,
        )
    if held < 1:
        return (
            f"does not fit: a cache pool of {capacity.kv.mid / _GIB:.1f} GiB a rank holds {held:.2f} of one request of "
            f"{load.peak_context_tokens:,} tokens",
            1 / held if held > 0 else None,
        )
    return None


def _grid(most: int, unit: int, users: int | None, asked: tuple[int, ...] | None) -> Array:
    """Whole sequences per rank to price: those asked for, or a geometric grid up to what fits and what users fill."""
    if asked is not None:
        wanted = np.unique(-(-np.asarray(asked) // unit))
        return np.asarray(wanted[(wanted >= 1) & (wanted <= most)], dtype=np.float64)
    top = most if users is None else min(most, -(-users // unit))
    steps = np.arange(np.log(max(top, 1)) / np.log(_GRID_RATIO) + 1)
    counts = np.unique(np.append(np.minimum(np.round(_GRID_RATIO**steps), top), top))
    return np.asarray(counts[counts >= 1], dtype=np.float64)


def _price(combination: Combination, load: Load, per_rank: Array, capacity: Capacity) -> Priced:
    setup = combination.setup
    d = setup.deployment
    unit = d.dp * d.attn_dp
    batch = per_rank * unit
    if load.users is not None:
        batch = np.minimum(batch, load.users)
    emitted = setup.emitted
    queue = setup.engine.serving.queue(setup.expert_layers > 0)
    times, ideal_s = device_times(setup, load, per_rank)
    kernels = {level: loop_kernels(setup, load, times[level], host_times(setup, level), per_rank) for level in LEVELS}
    served = {level: serve(kernels[level], per_rank * d.attn_dp, batch, load, queue, emitted) for level in LEVELS}
    kept = _needed(served["mid"].users, load.users)
    hourly, rate = setup.usd_per_hour, served["mid"].tokens_per_s
    usd = None if hourly is None else hourly / 3600 / rate * 1e6 / setup.paid_utilization
    return Priced(
        combination,
        batch[kept],
        _cut(served["low"], kept),
        _cut(served["mid"], kept),
        _cut(served["high"], kept),
        _cut_kernels(kernels["mid"], kept),
        ideal_s[kept],
        capacity,
        None if usd is None else usd[kept],
    )


def _needed(served_users: Array, users: int | None) -> Array:
    """Which batches make sense: up to the first that serves all users without a wait."""
    if users is None:
        return np.ones(served_users.shape, dtype=np.bool_)
    enough = served_users >= users * (1 - 1e-9)
    first = int(np.argmax(enough)) if enough.any() else served_users.size - 1
    return np.asarray(np.arange(served_users.size) <= first)


def _cut(service: Service, kept: Array) -> Service:
    s = service
    return Service(
        s.tpot_s[kept], s.ttft_s[kept], s.response_s[kept], s.wait_s[kept], s.tokens_per_s[kept], s.users[kept]
    )


def _cut_kernels(kernels: Kernels, kept: Array) -> Kernels:
    return Kernels(kernels.step_s[kept], kernels.prefill_s, kernels.added_s[kept], kernels.occupied_s[kept])
