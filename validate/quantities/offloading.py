"""Offloading systems by their own cost models, and what a tier, a drive or a link takes of a step."""

from __future__ import annotations

from kvwall.hardware.errors import InputError
from kvwall.simulator.cost_models.flexgen import Policy, Shape, tokens_per_s
from kvwall.simulator.cost_models.tpi_llm import master_blocks, peak_window_parameters
from kvwall.simulator.linears import attention_linears, embedding_linear, feed_forward_linears, head_linear
from kvwall.simulator.schemes.flexgen import FlexGen
from kvwall.simulator.schemes.tpi_llm import TpiLlm
from kvwall.validate.quantities.time import step_s
from kvwall.validate.reproducing.point import Point, quantity
from kvwall.workloads.model_spec import DenseFeedForward

#: Owners of lines that are access to a cache off the device.
_CACHE_ACCESS = frozenset({"attention", "offload"})


def _scheme(point: Point, kind: type) -> object:
    found = next((scheme for scheme in point.setup.stack.schemes if isinstance(scheme, kind)), None)
    if found is None:
        raise InputError(f"scheme {point.setup.stack.text}: this quantity is of {kind.__name__}")
    return found


@quantity
def flexgen_coded_tokens_per_s(point: Point) -> float:
    """Generated tokens per second by FlexGen's released equations and the rates that it fitted to the machine."""
    scheme, rates, model = _scheme(point, FlexGen), point.setup.system.node.offload_rates, point.setup.model
    if not isinstance(scheme, FlexGen) or rates is None:
        raise InputError(f"system {point.setup.system.node.name}: has no offload_rates")
    feed_forward = model.feed_forward[0]
    inner = feed_forward.intermediate_size
    shape = Shape(model.layers, model.hidden_size, inner, int(point.words["input"]), int(point.words["output"]))
    parts = {what: _parts(scheme, what) for what in "wch"}
    blocks = scheme.blocks
    policy = Policy(
        parts["w"],
        parts["c"],
        parts["h"],
        int(point.batch) // blocks,
        blocks,
        on_host=scheme.attend == "host",
        packed_weights=point.setup.weights.bits("feed_forward") < 16,
        packed_cache=float(scheme.kv_bits) < 16,
    )
    return tokens_per_s(shape, policy, rates)


def _parts(scheme: FlexGen, what: str) -> tuple[float, float, float]:
    host, drives = scheme.away(what)
    return 1.0 - host - drives, host, drives


@quantity
def cache_access_part(point: Point) -> float:
    """Part of a step that is charged to attention over the cache, wherever it lies."""
    lines = [line for line in point.found.lines if line.owner in _CACHE_ACCESS]
    access = sum(float(line.charged_s) for line in lines if "projection" not in line.operator)
    return access / step_s(point)


@quantity
def master_window_bytes(point: Point) -> float:
    """Most bytes of weights that the master of TPI-LLM holds in its window of blocks."""
    scheme, model = _scheme(point, TpiLlm), point.setup.model
    if not isinstance(scheme, TpiLlm) or not isinstance(model.feed_forward[0], DenseFeedForward):
        raise InputError(f"model {model.name}: the blocks of TPI-LLM are of dense models")
    d = point.setup.deployment
    attention = sum(linear.parameters / linear.layers for linear in attention_linears(model, 0, 1))
    forward = sum(x.parameters / x.layers for x in feed_forward_linears(model, 0, d)) * d.tp
    tables = embedding_linear(model, 1).parameters, head_linear(model, 1).parameters
    blocks = master_blocks(model.layers, attention, forward, *tables, 1.0 / d.tp)
    bits = point.setup.weights.bits("feed_forward")
    return peak_window_parameters(blocks, scheme.window) * bits / 8.0
