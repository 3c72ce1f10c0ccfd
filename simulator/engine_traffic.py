"""A step as one engine runs it: the operators of the model, and what the engine's habits and options add to them."""

from __future__ import annotations

from dataclasses import replace

from kvwall.simulator.adapters import adapter_operator
from kvwall.simulator.cache import Cache
from kvwall.simulator.operators.append import concatenations
from kvwall.simulator.operators.eager import eager_scores
from kvwall.simulator.operators.split import Split
from kvwall.simulator.operators.static_cache import over_static_cache
from kvwall.simulator.setup import Setup
from kvwall.simulator.speculation import draft_cache_bytes, draft_operator
from kvwall.simulator.step import StepShape, step_traffic
from kvwall.simulator.traffic import Operator, Traffic


def engine_traffic(setup: Setup, cache: Cache, shape: StepShape) -> Traffic:
    """All operators on the devices: of the model, a draft, adapters, and of how the engine attends and appends."""
    traffic, d = step_traffic(cache, shape), setup.deployment
    split = Split(d.attention_tp, d.dcp, shape.ranks)
    extra: list[Operator] = []
    if setup.speculation is not None and not cache.prefill:
        draft = setup.speculation
        again = draft_cache_bytes(cache, d) if draft.layers else 0.0
        extra.append(draft_operator(draft, setup.model, shape.arithmetic, d, shape.ranks, again))
    if setup.engine.appends == "concat":
        extra += concatenations(cache, split)
    if setup.engine.attention == "eager":
        extra += eager_scores(cache, split)
    if setup.engine.attention == "static":
        static = over_static_cache(traffic.operators, cache, split, float(setup.max_model_len or 0))
        traffic = replace(traffic, operators=static)
    if setup.adapters is not None:
        tokens = cache.batch * cache.query_tokens
        extra.append(adapter_operator(setup.adapters, setup.model, d, cache.batch, tokens, shape.ranks))
    return replace(traffic, operators=(*traffic.operators, *extra)) if extra else traffic
