"""The second pass: given what the log itself states, the engine's own rules must give its other lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from kvwall.simulator.capacity import Capacity
from kvwall.simulator.engine_logs import EngineLog, Fact
from kvwall.simulator.reconciling.budget import budget_line
from kvwall.simulator.reconciling.line import GIB, Line, against_rule
from kvwall.simulator.reserve import ByteBand


def log_pass(log: EngineLog, capacity: Capacity) -> Iterator[Line]:
    """A line per printed size that other printed sizes determine."""
    yield from budget_line(log, capacity)
    rules = _Rules(log, capacity)
    if log.engine == "llamacpp":
        yield from rules.allocated()
        return
    yield from rules.tokens()
    yield from rules.blocks()
    yield from rules.concurrency()
    yield from rules.needed()
    yield from rules.longest()


@dataclass(frozen=True)
class _Rules:
    """The rules of one engine on one log; ``capacity`` counts requests of the longest length."""

    log: EngineLog
    capacity: Capacity

    def tokens(self) -> Iterator[Line]:
        """Tokens of the printed pool, or of the printed blocks."""
        fact = self._fact("kv_tokens")
        if fact is None:
            return
        kv, blocks = self._fact("kv_bytes") or self._fact("available_bytes"), self._fact("gpu_blocks")
        if blocks is not None and not self._is_hybrid:
            size = self._block_tokens
            band = _exact(blocks.value * size)
            rule = f"{blocks.value:,.0f} blocks x {size}"
            yield against_rule("tokens", fact, band, size, "tokens", rule, "another block size")
        if kv is not None and kv.value > 0:
            yield against_rule(
                "tokens", fact, _around(kv, self.capacity.tokens), self._slack_tokens, "tokens", self._pool_rule(kv),
                self._uneven(),
            )  # fmt: skip

    def blocks(self) -> Iterator[Line]:
        """Blocks of the printed pool, or of the printed tokens where no pool is printed."""
        fact, kv = self._fact("gpu_blocks"), self._fact("kv_bytes")
        if fact is None or kv is None:
            return
        layout = self.capacity.layout

        def blocks(pool: float) -> float:
            if layout is not None:
                return layout.blocks(pool)
            return float(np.floor(max(0.0, pool) / (self._block_tokens * self.capacity.bytes_per_token)))

        yield against_rule("blocks", fact, _around(kv, blocks), 1, "blocks", self._pool_rule(kv), self._uneven())

    def concurrency(self) -> Iterator[Line]:
        """Requests of the longest length: of the printed blocks or tokens, or else of the printed pool."""
        fact, length = self._fact("concurrency"), self.log.highest("max_model_len")
        if fact is None or not length:
            return
        tokens, blocks, kv = (self._fact(name) for name in ("kv_tokens", "gpu_blocks", "kv_bytes"))
        layout = self.capacity.layout
        half = max(fact.half_width, 0.005)
        if layout is not None and (blocks or kv):
            each = float(layout.request_blocks(length))
            band = _exact(blocks.value / each) if blocks else _around(kv, lambda x: layout.blocks(x) / each)  # type: ignore[arg-type]
            held = blocks.value if blocks else layout.blocks(kv.value if kv else 0.0)
            rule = f"{held:,.0f} blocks / {each:,.0f} blocks a request: {self._request_rule(length)}"
        elif tokens or blocks:
            stored = blocks.value * self._block_tokens if blocks else tokens.value if tokens else 0.0
            band = _exact(stored / length)
            rule = f"{stored:,.0f} tokens / {length:,.0f}"
        else:
            return
        yield against_rule("concurrency", fact, band, half, "requests", rule, "other pages or states than modelled")

    def needed(self) -> Iterator[Line]:
        """Bytes of one request of the longest length."""
        fact, length = self._fact("needed_bytes"), self.log.highest("max_model_len")
        if fact is None or not length:
            return
        need = self._need(length)
        rule = f"one request of {length:,.0f} tokens: {self._request_rule(length)}"
        differs = self._pipeline(fact) or "another cache format, split or draft"
        yield against_rule("KV needed", fact, _exact(need), fact.half_width, "GiB", rule, differs)

    def longest(self) -> Iterator[Line]:
        """The longest sequence that the printed available pool holds."""
        fact, available = self._fact("estimated_max_len"), self._fact("available_bytes")
        if fact is None or available is None:
            return
        band = _around(available, self._longest)
        rule = f"longest length whose request takes at most {available}"
        needed = self._fact("needed_bytes")
        differs = (self._pipeline(needed) if needed else "") or "another cache format, split or draft"
        yield against_rule("longest sequence", fact, band, self._slack_tokens, "tokens", rule, differs)

    def allocated(self) -> Iterator[Line]:
        """The pool of an engine that makes it for a stated number of tokens (llama.cpp)."""
        fact = self._fact("kv_all_ranks_bytes") or self._fact("kv_bytes")
        tokens = self._fact("kv_tokens")
        if fact is None or tokens is None:
            return
        slots = max(1.0, self.log.highest("max_num_seqs") or 1.0)
        each = float(self.capacity.sequence_bytes(tokens.value / slots))
        rule = (
            f"{slots:.0f} x {tokens.value / slots:,.0f} tokens in whole blocks of {self._block_tokens}, windows bounded"
        )
        pool = self._fact("kv_bytes")
        whole = pool if pool is not None and pool.value > fact.value else fact
        yield against_rule(
            "KV pool", whole, _exact(slots * each), whole.half_width, "GiB", rule, "other layers offloaded"
        )

    def _fact(self, name: str) -> Fact | None:
        reading = self.log.readings.get(name)
        return reading.lowest if reading else None

    @property
    def _is_hybrid(self) -> bool:
        return self.capacity.layout is not None

    @property
    def _block_tokens(self) -> int:
        return int(self.log.highest("block_size") or self.capacity.setup.block)

    @property
    def _slack_tokens(self) -> float:
        layout = self.capacity.layout
        if layout is None:
            return float(self._block_tokens * self.capacity.setup.deployment.dcp)
        return float(layout.smallest_block_tokens * layout.dcp)

    def _need(self, length: float) -> float:
        layout = self.capacity.layout
        if layout is not None:
            return float(layout.request_blocks(length)) * layout.block_bytes
        return float(self.capacity.sequence_bytes(length))

    def _longest(self, pool: float) -> float:
        low, high = 0, int(2 * (self.log.highest("max_model_len") or 1e8))
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._need(middle) <= pool else (low, middle - 1)
        return float(low)

    def _pool_rule(self, kv: Fact) -> str:
        layout = self.capacity.layout
        if layout is None:
            size = self._block_tokens
            return f"floor({kv} / ({size} x {self.capacity.bytes_per_token:,.0f} B)) x {size}"
        blocks = f"floor({kv} / {layout.block_bytes:,.0f} B) = {layout.blocks(kv.value):,.0f} blocks"
        if self.capacity.setup.engine.log_tokens == "blocks over groups":
            printed = f"{blocks} / {layout.groups} groups x {layout.smallest_block_tokens}"
            return f"{printed}: no capacity, it charges every layer in full"
        return f"{blocks} / blocks of one request x its length: depends on the longest length"

    def _request_rule(self, length: float) -> str:
        layout = self.capacity.layout
        if layout is None:
            return f"{self.capacity.bytes_per_token:,.0f} B a token in blocks of {self._block_tokens}"
        said = []
        for kind in layout.kinds:
            if not kind.block_tokens:
                said.append(f"{layout.state_pages:g} pages of each of {kind.groups} groups of states")
            elif kind.window is None:
                said.append(f"{length:,.0f} tokens in blocks of {kind.block_tokens}")
            else:
                said.append(
                    f"{kind.groups} groups of windows of {kind.window} + one pass of {layout.batched_tokens} tokens"
                )
        return ", ".join(said) + f"; a block is {layout.block_bytes / 2**20:,.2f} MiB"

    def _uneven(self) -> str:
        if self.capacity.setup.deployment.gpus > 1:
            return "uneven ranks: tokens are the minimum over ranks, the printed pool may be another rank's"
        return "another cache format, a draft's layers, or another layout than modelled"

    def _pipeline(self, fact: Fact) -> str:
        pp = self.capacity.setup.deployment.pp
        length = self.log.highest("max_model_len") or 0.0
        whole = self._need(length) * self.capacity.setup.model.layers / -(-self.capacity.setup.model.layers // pp)
        if pp > 1 and abs(whole - fact.value) <= fact.half_width + 0.001 * whole:
            return (
                f"all layers are charged to one rank ({whole / GIB:.2f} GiB) although {pp} pipeline stages split them"
            )
        return ""


def _exact(value: float) -> ByteBand:
    return ByteBand(value, value, value)


def _around(fact: Fact, function: Callable[[float], float]) -> ByteBand:
    """``function`` at the ends and the middle of what the printed digits of ``fact`` can stand for."""
    return ByteBand(
        function(fact.value - fact.half_width), function(fact.value), function(fact.value + fact.half_width)
    )
