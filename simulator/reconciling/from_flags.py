"""The first pass: what the flags alone predict, against what the log prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kvwall.simulator.capacity import Capacity
from kvwall.simulator.engine_logs import EngineLog, Fact
from kvwall.simulator.reconciling.line import GIB, Line, against_band
from kvwall.simulator.reserve import ByteBand, combine

#: Loaded weights beyond their arithmetic size from which something else than the format is at work.
_SUSPICIOUS = 1.1


def flags_pass(log: EngineLog, capacity: Capacity) -> Iterator[Line]:
    """A line per printed size that flags predict: weights, reserve by parts, graphs, pool, tokens, concurrency."""
    parts = {part.name: part.bytes for part in capacity.reserve.components}
    peak = _sum(parts["activation"], parts["sampler"])
    outside = combine([parts["context"], parts["communication"]])
    pool = capacity.pool
    yield from _line(log, "weights", "weights_bytes", capacity.weights, _weights_why(log, capacity))
    consumed = combine([capacity.weights, outside])
    yield from _line(log, "weights and non-torch", "consumed_bytes", consumed, _weights_why(log, capacity))
    yield from _line(log, "activation peak", "activation_bytes", peak, _peak_why(capacity))
    torch = combine([capacity.weights, peak])
    yield from _line(log, "weights and activations", "peak_torch_bytes", torch, _peak_why(capacity))
    yield from _line(log, "non-torch", "non_torch_bytes", outside, _outside_why(capacity))
    for fact in ("graph_estimate_bytes", "graph_bytes"):
        yield from _line(log, "CUDA graphs", fact, _graphs(capacity), _graphs_why(capacity))
    if log.engine == "llamacpp":
        return
    why = _pool_why(log, capacity, peak, outside)
    if capacity.setup.engine.state_pool_ratio and "state_bytes" in log.readings:
        states = _map(pool, lambda x: max(0.0, x) - capacity.token_pool(max(0.0, x)))
        yield from _line(log, "state pool", "state_bytes", states, why)
    tokens_pool = _map(pool, capacity.token_pool)
    yield from _line(log, "KV pool", "kv_bytes", tokens_pool, why)
    yield from _line(log, "KV pool available", "available_bytes", tokens_pool, why)
    yield from _line(log, "tokens", "kv_tokens", _map(capacity.kv, capacity.tokens), why, "tokens")
    block = capacity.setup.block
    if capacity.layout is not None:
        layout = capacity.layout
        yield from _line(log, "blocks", "gpu_blocks", _map(capacity.kv, layout.blocks), why, "blocks")
    else:
        blocks = _map(capacity.kv, lambda kv: capacity.tokens(kv) // block)
        yield from _line(log, "blocks", "gpu_blocks", blocks, why, "blocks")
    yield from _line(log, "concurrency", "concurrency", _map(capacity.kv, capacity.concurrency), why, "requests")


def _line(
    log: EngineLog, what: str, name: str, band: ByteBand, why: Callable[[Fact, str], str], unit: str = "GiB"
) -> Iterator[Line]:
    reading = log.readings.get(name)
    if reading is None:
        return
    # Loaded weights bind where they are largest, a pool where it is smallest.
    fact = reading.highest if name in {"weights_bytes", "consumed_bytes", "peak_torch_bytes"} else reading.lowest
    yield against_band(what, fact, band, unit, lambda verdict: why(fact, verdict))


def _map(band: ByteBand, function: Callable[[float], float]) -> ByteBand:
    return ByteBand(function(band.low), function(band.mid), function(band.high))


def _sum(one: ByteBand, other: ByteBand) -> ByteBand:
    return ByteBand(one.low + other.low, one.mid + other.mid, one.high + other.high)


def _graphs(capacity: Capacity) -> ByteBand:
    """All captured graphs, whether the engine counts them or not."""
    setup = capacity.setup
    layers = -(-setup.model.layers // setup.deployment.pp) * (0 if setup.eager else 1)
    per_layer = setup.engine.reserve.graph_per_layer_bytes
    return ByteBand(per_layer.low * layers, per_layer.mid * layers, per_layer.high * layers)


def _weights_why(log: EngineLog, capacity: Capacity) -> Callable[[Fact, str], str]:
    arithmetic = capacity.weights_arithmetic_bytes
    form = capacity.setup.weights_name

    def why(fact: Fact, verdict: str) -> str:
        ratio = fact.value / arithmetic if arithmetic else 0.0
        base = f"parameters x bits of {form} on the fullest rank are {arithmetic / GIB:.2f} GiB"
        if verdict != "differs":
            return base
        if ratio > _SUSPICIOUS:
            return f"{base}: {ratio:.2f} times that is loaded, so another format, a second copy or a draft is resident"
        return f"{base}: {ratio:.2f} times that is loaded, so another format, a part on the host, or another split"

    return why


def _peak_why(capacity: Capacity) -> Callable[[Fact, str], str]:
    start = capacity.start
    parts = {part.name: part.bytes.mid for part in capacity.reserve.components}
    stated = capacity.setup.max_num_seqs is not None and capacity.setup.max_batched_tokens is not None
    said = "as the log says" if stated else "partly the engine's defaults"
    if parts["sampler"]:
        cause = f"sampler workspace of max_num_seqs {start.max_num_seqs} x vocabulary {capacity.setup.model.vocab_size}"
    else:
        cause = f"one pass of {start.max_batched_tokens} tokens through the widest layer"
    return lambda fact, verdict: (
        f"{cause} ({said})"
        if verdict != "differs"
        else f"{cause} ({said}): a pass of other size, or an encoder of images, is not in the model"
    )


def _outside_why(capacity: Capacity) -> Callable[[Fact, str], str]:
    high = sum(p.bytes.high for p in capacity.reserve.components if p.name in {"context", "communication"})

    def why(fact: Fact, verdict: str) -> str:
        if verdict != "differs":
            return "device context and communication buffers"
        if fact.value > high:
            return "more than context and communication buffers take: another process on the GPU, or NCCL buffers"
        return "less than context and communication buffers take: they were made before the engine looked"

    return why


def _graphs_why(capacity: Capacity) -> Callable[[Fact, str], str]:
    counted = "counted before the pool is sized" if capacity.setup.engine.graphs_in_budget else "outside the budget"
    return lambda fact, verdict: f"captured graphs of {capacity.setup.model.layers} layers, {counted}"


def _pool_why(log: EngineLog, capacity: Capacity, peak: ByteBand, outside: ByteBand) -> Callable[[Fact, str], str]:
    """Which part moves the pool: the printed part that is furthest from its prediction, or the parts not printed."""
    modelled = {
        "weights_bytes": ("loaded weights", capacity.weights),
        "activation_bytes": ("the activation peak", peak),
        "non_torch_bytes": ("non-torch memory", outside),
    }
    if "consumed_bytes" in log.readings:
        del modelled["non_torch_bytes"], modelled["weights_bytes"]
        modelled["consumed_bytes"] = ("weights and non-torch memory", combine([capacity.weights, outside]))
    gaps = {
        words: band.mid - (log.highest(name) or 0.0)
        for name, (words, band) in modelled.items()
        if log.highest(name) is not None
    }
    printed = max(gaps, key=lambda words: abs(gaps[words])) if gaps else None
    missing = [words for name, (words, _) in modelled.items() if log.highest(name) is None]

    def why(fact: Fact, verdict: str) -> str:
        if verdict == "agrees":
            return "utilization x memory less weights and reserve"
        if printed is not None and not missing:
            more = "less" if gaps[printed] > 0 else "more"
            return f"mostly {printed}: {abs(gaps[printed]) / GIB:.2f} GiB {more} than modelled"
        told = ", ".join(missing) or "the reserve"
        return f"not printed, so modelled: {told}; driver-invisible memory and other processes are not known"

    return why
