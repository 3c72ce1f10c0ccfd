"""Lines that cannot be true, whatever the engine and the model are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kvwall.simulator.capacity import Capacity
from kvwall.simulator.engine_logs import EngineLog, Reading
from kvwall.simulator.reconciling.line import GIB, Line, scaled

#: Amounts that can be no less than nothing; a pool can, when an engine refuses to start.
_AMOUNTS = {
    "weights_bytes": ("weights", "GiB"),
    "consumed_bytes": ("weights and non-torch", "GiB"),
    "activation_bytes": ("activation peak", "GiB"),
    "non_torch_bytes": ("non-torch", "GiB"),
    "graph_bytes": ("CUDA graphs", "GiB"),
    "graph_estimate_bytes": ("CUDA graphs", "GiB"),
    "kv_tokens": ("tokens", "tokens"),
    "gpu_blocks": ("blocks", "blocks"),
    "state_bytes": ("state pool", "GiB"),
    "needed_bytes": ("KV needed", "GiB"),
}
_PARTS = ("weights_bytes", "kv_bytes", "activation_bytes", "state_bytes")


def impossible_lines(log: EngineLog, capacity: Capacity) -> Iterator[Line]:
    """The printed numbers that no machine of this memory can have, each with the most that it could be."""
    yield from _negative(log)
    yield from _beyond_memory(log, capacity)
    yield from _fractions(log)


def mark(lines: list[Line], impossible: list[Line]) -> list[Line]:
    """``lines`` with the verdict of each that states an impossible number, and the impossible ones that none states."""
    found = {(line.what, line.log_line): line for line in impossible}
    marked = [
        replace(line, verdict="impossible", why=found[line.what, line.log_line].why)
        if (line.what, line.log_line) in found
        else line
        for line in lines
    ]
    stated = {(line.what, line.log_line) for line in lines}
    return marked + [line for key, line in found.items() if key not in stated]


def _negative(log: EngineLog) -> Iterator[Line]:
    for name, (what, unit) in _AMOUNTS.items():
        reading = log.readings.get(name)
        if reading is not None and reading.lowest.value < -reading.lowest.half_width:
            why = "an amount cannot be negative: memory was freed between the two readings that the engine subtracted"
            yield _impossible(what, reading, 0.0, unit, why)


def _beyond_memory(log: EngineLog, capacity: Capacity) -> Iterator[Line]:
    memory = capacity.setup.memory_bytes
    card = f"the {memory / GIB:.2f} GiB of one {capacity.setup.system.device.name}"
    sizes = {"weights_bytes": "weights", "kv_bytes": "KV pool", "free_memory_bytes": "free memory"}
    for name, what in sizes.items():
        reading = log.readings.get(name)
        if reading is not None and reading.highest.value - reading.highest.half_width > memory:
            yield _impossible(what, reading, memory / GIB, "GiB", f"more than {card}", highest=True)
    layout, each = capacity.layout, capacity.bytes_per_token
    block = int(log.highest("block_size") or capacity.setup.block)
    block_bytes = layout.block_bytes if layout is not None else block * each
    blocks = log.readings.get("gpu_blocks")
    if blocks is not None and block_bytes and blocks.lowest.value * block_bytes > memory:
        need = blocks.lowest.value * block_bytes / GIB
        what = f"{blocks.lowest.value:,.0f} blocks x {block_bytes:,.0f} B need {need:,.1f} GiB, more than {card}"
        yield _impossible("blocks", blocks, memory // block_bytes, "blocks", what)
    tokens = log.readings.get("kv_tokens")
    rank_tokens = 0.0 if tokens is None else tokens.lowest.value / capacity.setup.deployment.attn_dp
    if tokens is not None and layout is None and log.engine != "llamacpp" and rank_tokens * each > memory:
        need = rank_tokens * each / GIB
        what = f"{tokens.lowest.value:,.0f} tokens x {each:,.0f} B need {need:,.1f} GiB, more than {card}"
        yield _impossible("tokens", tokens, memory // each, "tokens", what)
    held = [log.readings[name].lowest for name in _PARTS if name in log.readings]
    total = sum(fact.value for fact in held)
    pool = log.readings.get("kv_bytes")
    if (
        pool is not None
        and len(held) > 1
        and max(f.value for f in held) <= memory < total - sum(f.half_width for f in held)
    ):
        why = f"weights, activations and pools together are {total / GIB:,.1f} GiB, more than {card}"
        yield _impossible("KV pool", pool, (memory - total + pool.lowest.value) / GIB, "GiB", why)


def _fractions(log: EngineLog) -> Iterator[Line]:
    reading = log.readings.get("utilization")
    if reading is not None and not 0 < reading.lowest.value <= 1:
        yield _impossible("utilization", reading, 1.0, "fraction", "a part of the memory lies between 0 and 1")
    free, total = log.readings.get("free_memory_bytes"), log.readings.get("total_memory_bytes")
    if free is not None and total is not None and free.lowest.value > total.highest.value + total.highest.half_width:
        limit = total.highest.value / GIB
        yield _impossible("free memory", free, limit, "GiB", f"more than the {total.highest} in all")


def _impossible(what: str, reading: Reading, limit: float, unit: str, why: str, highest: bool = False) -> Line:
    fact = reading.highest if highest else reading.lowest
    return Line(what, "physics", fact.value / scaled(unit), limit, unit, "impossible", why, str(fact), fact.line)
