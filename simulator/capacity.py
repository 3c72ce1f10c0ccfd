"""Capacity: what of a rank's memory is left for the cache, and how many tokens and sequences fit into it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kvwall.hardware.system import System
from kvwall.simulator.cache import Cache, Place
from kvwall.simulator.dense import EXACT
from kvwall.simulator.kept import kept_cache
from kvwall.simulator.pool import kv_pool, loaded_weights
from kvwall.simulator.reserve import ByteBand, Reserve, StartUp, engine_reserve, rank_shape
from kvwall.simulator.sequence_memory import SequenceMemory
from kvwall.simulator.traffic import Array, Numeric
from kvwall.simulator.weights_memory import RankWeights, rank_weights

#: Sequences that share are counted by following lines: so many of them, up to so many sequences.
_MOST_LINES, _MOST_SEQUENCES = 16, 1e9


@dataclass(frozen=True)
class Count:
    """A number of tokens or sequences with its band."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True)
class Capacity(SequenceMemory):
    """Memory of the fullest rank of one replica.

    :ivar context: tokens per sequence that ``max_concurrency`` counts with
    """

    context: int

    @cached_property
    def start(self) -> StartUp:
        """How the engine is started on one rank."""
        s = self.setup
        return StartUp(
            max_batched_tokens=s.batched_tokens,
            max_num_seqs=s.num_seqs,
            memory_bytes=s.memory_bytes,
            tp=s.deployment.tp,
            memory_is_visible=s.overrides.gpu_memory_bytes is not None,
            sequences_stated=s.max_num_seqs is not None,
            eager=s.eager,
        )

    @cached_property
    def weights(self) -> ByteBand:
        """Loaded weights of the rank; exact when the user read them off a log."""
        stated = self.setup.overrides.weights_bytes
        if stated is not None:
            return ByteBand(stated, stated, stated)
        arithmetic = self.weights_arithmetic_bytes
        form = self.setup.weights
        return loaded_weights(self.setup.engine, arithmetic, form.loaded_over_arithmetic, form.loaded_high)

    @cached_property
    def _probe(self) -> Cache:
        """What the schemes do to the weights and to the step, which no length of a sequence changes."""
        return kept_cache(self.setup.model, self.setup.stack, 1.0, 1.0)

    @cached_property
    def _rank_weights(self) -> RankWeights:
        s = self.setup
        probe = self._probe
        split = probe.execution.split_vocabulary
        whole = not s.engine.splits_vocabulary
        return rank_weights(s.model, s.weights, s.deployment, probe.extra_weights, split, whole)

    @cached_property
    def weights_arithmetic_bytes(self) -> float:
        """Parameters times bits on the fullest rank, of those that stay on the device."""
        s = self.setup
        adapters = s.adapters.count * 2.0 * s.adapters.parameters(s.model, s.deployment) if s.adapters else 0.0
        layers = s.model.layers / s.deployment.pp
        return self._rank_weights.resident_bytes(self._probe.execution, layers) + adapters

    @cached_property
    def reserve(self) -> Reserve:
        """What the rank keeps for itself, by parts."""
        d = self.setup.deployment
        return engine_reserve(self.setup.engine, rank_shape(self.setup.model, d.attention_tp, d.pp), self.start)

    @property
    def utilization(self) -> float:
        """Memory fraction of the engine."""
        s = self.setup
        if s.utilization is not None:
            return s.utilization
        return s.engine.default_utilization(s.memory_bytes, s.deployment.tp, s.deployment.pp)

    @cached_property
    def kv(self) -> ByteBand:
        """Cache pool of the rank in bytes; never negative."""
        stated = self.setup.overrides.kv_bytes
        if stated is not None:
            return ByteBand(stated, stated, stated)
        pool = self.pool
        return ByteBand(max(0.0, pool.low), max(0.0, pool.mid), max(0.0, pool.high))

    @cached_property
    def pool(self) -> ByteBand:
        """Cache pool as the engine computes it; negative where it would refuse to start."""
        return kv_pool(self.setup.engine, self.start, self.utilization, self.weights, self.reserve)

    def held(self, kv_bytes: float, context: Numeric) -> Array:
        """Sequences of ``context`` tokens that one rank holds with a pool of ``kv_bytes``, as a real number.

        The least of what the pool and each place beside the device hold.
        """
        held = self._held_on_device(kv_bytes, context)
        for place in self._places_beside:
            held = np.minimum(held, self._held_in(self._rooms[place], context, place))
        return held

    def held_beside_prompt(self, context: Numeric, prompt: Numeric) -> Array:
        """Sequences of ``context`` tokens that one rank holds while a prompt of ``prompt`` tokens is still whole.

        At the middle of the band, as :meth:`fits` counts.
        """
        held, extra = self.held(self.kv.mid, context), self.prompt_extra_bytes(prompt)
        if not np.any(extra):
            return held
        return np.minimum(held, self._held_in(self._whole_pool - float(extra), context, "hbm"))

    @property
    def _whole_pool(self) -> float:
        """Pool of tokens and of states at the middle of the band."""
        return self.token_pool(self.kv.mid) * (1 + (self.setup.engine.state_pool_ratio if self.state_bytes else 0.0))

    def _held_in(self, room_bytes: float, context: Numeric, place: Place, states: float = 0.0) -> Array:
        """``(room - shared) / private``: a shared prefix is paid once, told apart by the bytes of one and of two.

        Where only so many sequences share (a tree, the prompts of a document), the line through two further numbers of
        sequences is followed instead, until they stay.
        """
        held: Numeric = 1.0
        for _ in range(_MOST_LINES):
            one = held * self.sequence_bytes(context, sequences=held, place=place)
            two = (held + 1.0) * self.sequence_bytes(context, sequences=held + 1.0, place=place)
            each, shared = two - one - states, (held + 1.0) * one - held * two
            room = np.maximum(0.0, room_bytes - shared) / np.maximum(each, 1e-9)
            found = np.asarray(np.where(each > 0, room, np.inf))
            last, held = held, np.clip(found, 1.0, _MOST_SEQUENCES)
            if np.all(shared <= 1e-9 * one) or np.allclose(held, last, rtol=1e-9):
                break
        return found

    @cached_property
    def _rooms(self) -> dict[Place, float]:
        """Room for the cache outside the device, beside the weights that lie there; negative where these do not fit."""
        rooms, (host, ssd) = place_rooms(self.setup.system), self._rank_weights.away_bytes(self._probe.execution)
        return {"host": rooms["host"] - host, "ssd": rooms["ssd"] - ssd}

    @cached_property
    def _places_beside(self) -> tuple[Place, ...]:
        """Places outside the device where the scheme keeps a part of a sequence."""
        return tuple(
            place for place in self._rooms if np.any(self.sequence_bytes(float(self.context), place=place) > 0)
        )

    def _held_on_device(self, kv_bytes: float, context: Numeric) -> Array:
        engine = self.setup.engine
        if self.layout is not None and self.layout.resident:
            blocks = max(0.0, self.layout.blocks(kv_bytes) - engine.null_blocks)
            return np.asarray(blocks / np.maximum(self.layout.request_blocks(context), 1.0))
        states = self.state_bytes if engine.state_pool_ratio else 0.0
        null_bytes = engine.null_blocks * self.setup.block * self.bytes_per_token
        held = self._held_in(self.token_pool(kv_bytes) - null_bytes, context, "hbm", states)
        if states:
            slots = np.floor(self.token_pool(kv_bytes) * engine.state_pool_ratio / states)
            held = np.minimum(held, np.maximum(0.0, slots - engine.null_blocks))
        return np.asarray(held)

    def token_pool(self, kv_bytes: float) -> float:
        """What of a pool of ``kv_bytes`` holds tokens; the rest holds states where the engine keeps them apart.

        A pool that the user read off a log is the token pool already.
        """
        if self.setup.overrides.kv_bytes is not None or not self.state_bytes:
            return kv_bytes
        return kv_bytes / (1 + self.setup.engine.state_pool_ratio)

    def concurrency(self, kv_bytes: float) -> float:
        """Sequences of ``context`` tokens that a pool of ``kv_bytes`` holds in one replica, as a real number."""
        return float(self.held(kv_bytes, float(self.context))) * self.setup.deployment.attn_dp

    def tokens(self, kv_bytes: float) -> float:
        """Tokens that a pool of ``kv_bytes`` holds in one replica, as the engine counts and prints them.

        A cache whose layers all keep every token is a number of blocks: ``floor(kv / (block x bytes per token)) x
        block``. With windows or states the count is what the engine's version makes of it: blocks over groups (every
        layer charged at full length), or concurrency times ``context``.
        """
        s, layout = self.setup, self.layout
        if s.overrides.kv_tokens is not None:
            return s.overrides.kv_tokens
        if layout is not None and layout.resident:
            blocks = layout.blocks(kv_bytes)
            if s.engine.log_tokens == "blocks over groups":
                tokens = blocks // layout.groups * layout.smallest_block_tokens * layout.dcp
            else:
                tokens = float(np.floor(blocks / float(layout.request_blocks(self.context)) * self.context))
            return tokens * s.deployment.attn_dp
        if self._counts_blocks:
            block_tokens = s.block * s.deployment.dcp
            blocks = np.floor(self.token_pool(kv_bytes) / (block_tokens * self.bytes_per_token) * (1 + 1e-12))
            tokens = float(max(0.0, blocks) * block_tokens * s.deployment.attn_dp)
            return min(tokens, np.floor(self.concurrency(kv_bytes) * self.context)) if self._places_beside else tokens
        return float(np.floor(self.concurrency(kv_bytes) * self.context))

    @property
    def _counts_blocks(self) -> bool:
        uniform = self.bytes_per_sequence <= 0 or self.setup.engine.utilization_of == "static fraction"
        return uniform and self.bytes_per_token > 0 and self.grows_in_proportion

    @property
    def tokens_rule(self) -> str:
        """How :meth:`tokens` counts where it is not blocks of a cache that keeps every token in every layer."""
        layout = self.layout
        if layout is not None and layout.resident:
            if self.setup.engine.log_tokens == "blocks over groups":
                return "KV tokens as the engine prints them: blocks over groups of layers, all charged at full length"
        elif self._counts_blocks:
            return ""
        return f"KV tokens are the sequences that fit times {self.context:,} tokens: a token's share of memory varies"

    @property
    def marginal_bytes(self) -> float:
        """What one more token adds to a sequence; at ``context`` where that depends on the length."""
        if self.grows_in_proportion:
            return self.bytes_per_token
        near, next_one = (float(self.sequence_bytes(self.context + more, EXACT)) for more in (0.0, 1.0))
        return next_one - near

    @property
    def kv_tokens(self) -> Count:
        """Tokens that one replica holds."""
        return Count(self.tokens(self.kv.low), self.tokens(self.kv.mid), self.tokens(self.kv.high))

    @property
    def max_concurrency(self) -> Count:
        """Sequences of ``context`` tokens that one replica holds."""
        stated = self.setup.overrides.kv_tokens
        if stated is not None:
            value = stated / self.context
            return Count(value, value, value)
        return Count(*(self.concurrency(level) for level in (self.kv.low, self.kv.mid, self.kv.high)))

    def fits(self, batch: Numeric, context: Numeric) -> Array:
        """Whether ``batch`` sequences of ``context`` tokens of the whole deployment fit at the middle of the band."""
        d = self.setup.deployment
        per_rank = np.ceil(np.asarray(batch, dtype=np.float64) / (d.dp * d.attn_dp))
        if self.setup.overrides.kv_tokens is not None:
            return np.asarray(np.ceil(np.asarray(batch) / d.dp) * context <= self.setup.overrides.kv_tokens)
        needed = per_rank * self.sequence_bytes(context, sequences=per_rank) + self.prompt_extra_bytes(context)
        pool_ok = self.pool.mid > 0 or self.setup.overrides.kv_bytes is not None
        on_device = (needed <= self._whole_pool) & (per_rank <= self.held(self.kv.mid, context)) & pool_ok
        for needed_there, room in self.beside(per_rank, context).values():
            on_device = on_device & (needed_there <= room)
        return np.asarray(on_device)

    def beside(self, per_rank: Array, context: Numeric) -> dict[Place, tuple[Array, float]]:
        """Bytes that a scheme keeps outside the device, and a device's part of the room there, by place."""
        return {
            place: (per_rank * self.sequence_bytes(context, sequences=per_rank, place=place), bytes_there)
            for place, bytes_there in self._rooms.items()
        }


def place_rooms(system: System) -> dict[Place, float]:
    """One device's part of the memory and of the drives of its host, in bytes."""
    return {
        "host": system.host_memory_per_device_bytes,
        "ssd": system.node.host.ssd_bytes / system.devices_per_host,
    }
