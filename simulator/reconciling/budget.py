"""Whether the printed parts of a memory budget add up to the printed pool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kvwall.simulator.capacity import Capacity
from kvwall.simulator.engine_logs import EngineLog, Fact, Reading
from kvwall.simulator.reconciling.line import Line, against_rule
from kvwall.simulator.reserve import ByteBand

#: Sets of printed parts that, taken from the budget, leave the pool (vLLM), the most detailed first.
_VLLM_PARTS: tuple[tuple[str, ...], ...] = (
    ("weights_bytes", "activation_bytes", "non_torch_bytes"),
    ("consumed_bytes", "activation_bytes"),
    ("peak_torch_bytes", "non_torch_bytes"),
)
_NAMES = {
    "weights_bytes": "weights",
    "activation_bytes": "activations",
    "non_torch_bytes": "non-torch",
    "consumed_bytes": "weights and non-torch",
    "peak_torch_bytes": "weights and activations",
}


def budget_line(log: EngineLog, capacity: Capacity) -> Iterator[Line]:
    """The pool as the remainder of the printed budget, where the log prints all of its parts."""
    pool = log.readings.get("kv_bytes")
    if pool is None:
        return
    if log.engine == "vllm":
        yield from _vllm(log, pool)
    elif log.engine == "sglang":
        yield from _sglang(log, pool, capacity)
    elif log.engine == "trtllm":
        yield from _trtllm(log, pool, capacity)


def _vllm(log: EngineLog, pool: Reading) -> Iterator[Line]:
    """Budget less parts. On several ranks the smallest pool goes with the largest parts."""
    parts = next((names for names in _VLLM_PARTS if all(name in log.readings for name in names)), None)
    budget = _budget(log)
    if parts is None or budget is None:
        return
    facts = [log.readings[name].highest for name in parts]
    left = budget.value - sum(fact.value for fact in facts)
    slack = _slack([budget, pool.lowest, *facts])
    rule = f"{budget} budget - " + " - ".join(f"{fact} {_NAMES[name]}" for fact, name in zip(facts, parts, strict=True))
    graphs = log.readings.get("graph_bytes")
    if graphs is not None and "consumed_bytes" in log.readings:
        rule += "; graphs are not taken from it"
    differs = "the printed parts do not add up: graphs in the budget, or memory that another process took or gave back"
    band = ByteBand(left, left, left)
    yield against_rule("KV pool", pool.lowest, band, slack, "GiB", rule, differs)


def _budget(log: EngineLog) -> Fact | None:
    """The printed budget, or utilization times total memory."""
    if "budget_bytes" in log.readings:
        return log.readings["budget_bytes"].lowest
    if "utilization" not in log.readings or "total_memory_bytes" not in log.readings:
        return None
    fraction, total = log.readings["utilization"].lowest, log.readings["total_memory_bytes"].lowest
    value = fraction.value * total.value
    half = fraction.value * total.half_width + total.value * min(fraction.half_width, 5e-4)
    return Fact(value, half, f"{fraction} x {total.printed}", total.unit, total.line, total.rank)


def _sglang(log: EngineLog, pool: Reading, capacity: Capacity) -> Iterator[Line]:
    """Free memory after load less the share outside the static fraction: ``after - (1 - f) before``."""
    before, after = log.readings.get("free_memory_bytes"), log.readings.get("free_after_weights_bytes")
    fraction = log.flags.get("static_fraction")
    if before is None or after is None or not isinstance(fraction, float):
        return
    taken = log.highest("communication_bytes") or 0.0
    start = before.lowest.value + taken
    ratio = capacity.setup.engine.state_pool_ratio if "state_bytes" in log.readings else 0.0
    left = (after.lowest.value - (1 - fraction) * start) / (1 + ratio)
    slack = _slack([before.lowest, after.lowest, pool.lowest])
    rule = f"{after.lowest} free after load - (1 - {fraction:g}) x {start / 2**30:.2f} GB before it"
    differs = "the state pool, a draft or another process takes a share"
    yield against_rule("KV pool", pool.lowest, ByteBand(left, left, left), slack, "GiB", rule, differs)


def _trtllm(log: EngineLog, pool: Reading, capacity: Capacity) -> Iterator[Line]:
    """A fraction of the free memory."""
    free = log.readings.get("free_memory_bytes")
    if free is None:
        return
    fraction = capacity.utilization
    left = fraction * free.lowest.value
    slack = _slack([free.lowest, pool.lowest]) + capacity.setup.block * capacity.bytes_per_token
    rule = f"{fraction:g} x {free.lowest} free"
    differs = "a fraction or a limit of tokens that the log does not print"
    yield against_rule("KV pool", pool.lowest, ByteBand(left, left, left), slack, "GiB", rule, differs)


def _slack(facts: Sequence[Fact]) -> float:
    """What the rounding of all printed digits together can hide."""
    return sum(fact.half_width for fact in facts) * 1.001
