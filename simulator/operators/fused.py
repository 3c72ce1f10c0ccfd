"""Work that schemes add inside an attention kernel, from per layer and attended token to what one rank pays."""

from __future__ import annotations

from dataclasses import replace

from kvwall.simulator.cache import Cache, CacheGroup
from kvwall.simulator.operators.split import Split
from kvwall.simulator.traffic import Numeric, Term


def shard(whole: Term, share: float) -> Term:
    """``whole`` as one rank pays it when it has ``share`` of the work."""
    if share == 1.0 or whole.resource in {"latency", "hops", "peer hops", "network hops", "host"}:
        return whole
    symbols = {**whole.symbols, "share": share}
    return replace(whole, amount=whole.amount * share, equation=f"share * ({whole.equation})", symbols=symbols)


def fused_terms(group: CacheGroup, cache: Cache, split: Split, attended: Numeric) -> list[Term]:
    """What schemes fuse into the attention of ``group``, over its layers and ``attended`` tokens, on one rank."""
    share = split.queries(group) / max(group.q_heads, 1)
    return [
        shard(_over_tokens(t, group.layers, attended), share)
        for index, operator in cache.fused
        if index == group.index
        for t in operator.terms
    ]


def _over_tokens(each: Term, layers: float, attended: Numeric) -> Term:
    symbols = {**each.symbols, "layers": layers, "attended": attended}
    amount = each.amount * layers * attended
    return replace(each, amount=amount, equation=f"layers * attended * ({each.equation})", symbols=symbols)
