"""Attention of a prefill: the query-key pairs it multiplies, what it reads of earlier tokens and what it writes."""

from __future__ import annotations

import numpy as np

from kvwall.simulator.cache import Cache, CacheGroup, Tensor
from kvwall.simulator.operators.attention_call import attention_call
from kvwall.simulator.operators.split import Split
from kvwall.simulator.traffic import Numeric, Operator, Symbols, Term, term

_READ = "earlier tokens cross HBM once per prefill: arXiv 2307.08691, section 3"
_WRITE = "every kept element of a new token is written once: arXiv 2309.06180, section 4"
_FLASH = "Dao 2023, FlashAttention-2, arXiv 2307.08691, section 3"
_INDEX = "DeepSeek-AI 2025, DeepSeek-V3.2 report, section 2"


def causal_pairs(queries: Numeric, context: Numeric, window: float | None) -> Numeric:
    """Query-key pairs of ``queries`` new tokens at the end of ``context`` tokens, each seeing itself and what precedes.

    Without a window: ``q (n - q) + q (q + 1) / 2``. With one, the ``a = clip(w - (n - q), 0, q)`` first queries see all
    before them and the others ``w`` tokens.
    """
    before = context - queries
    if window is None:
        return queries * before + queries * (queries + 1) / 2
    free = np.clip(window - before, 0.0, queries)
    pairs: Numeric = free * before + free * (free + 1) / 2 + (queries - free) * window
    return pairs


def chunked_pairs(queries: Numeric, context: Numeric, chunk: float) -> Numeric:
    """Query-key pairs where a token sees only what precedes it in its own chunk: the difference of two prefixes.

    The first ``t`` tokens have ``floor(t / c) c (c + 1) / 2 + r (r + 1) / 2`` pairs, ``r = t mod c``.
    """

    def first(tokens: Numeric) -> Numeric:
        rest = np.mod(tokens, chunk)
        pairs: Numeric = np.floor_divide(tokens, chunk) * chunk * (chunk + 1) / 2 + rest * (rest + 1) / 2
        return pairs

    return first(context) - first(context - queries)


def prefill_attention(group: CacheGroup, cache: Cache, split: Split) -> Operator:
    """Attention of the new tokens of a prefill over everything up to them."""
    terms: list[Term] = []
    for tensor in group.tensors:
        terms += _moves(tensor, group, cache, split)
    terms += _flops(group, cache, split)
    name = f"prefill attention ({group.kind})"
    call = attention_call(group, cache, split)
    return Operator("attention", name, "attention", tuple(terms), group.layers, ranks=split.ranks, call=call)


def earlier_tokens(group: CacheGroup, cache: Cache) -> Numeric:
    """Cached tokens that the first new query sees."""
    before = cache.context - cache.query_tokens
    if group.window is None:
        return before
    return np.mod(before, group.window) if group.kind == "chunked" else np.minimum(before, group.window - 1)


def _moves(tensor: Tensor, group: CacheGroup, cache: Cache, split: Split) -> list[Term]:
    width: Symbols = {"L": group.layers, "e": split.elements(tensor), "B": cache.batch}
    earlier = earlier_tokens(group, cache)
    loaded = cache.query_tokens * (1.0 - cache.execution.computed_share)
    earlier = earlier + loaded
    if not tensor.grows:  # what a prefill makes once, such as a factor, has rows of its own
        earlier = np.minimum(earlier, sum((s.stored for s in tensor.segments), start=np.float64(0.0)))
    terms = [
        term(f"read earlier {tensor.role}", "hbm", "L * e * d * b / 8 * B * p", _READ, tally="kv read",
             b=tensor.segments[0].bits.effective, d=split.dcp, p=earlier, **width)
    ]  # fmt: skip
    left: Numeric = cache.query_tokens
    for segment in reversed(tensor.segments):
        if segment.label == "shared prefix":
            continue
        new = np.minimum(segment.stored, left)
        left = left - new
        which = "" if segment.label == "tokens" else f" ({segment.label})"
        terms.append(
            term(f"write {tensor.role}{which}", "hbm", "L * e * b / 8 * B * p", _WRITE, tally="kv written",
                 b=segment.bits.effective, p=new, **width)
        )  # fmt: skip
    return terms


def _flops(group: CacheGroup, cache: Cache, split: Split) -> list[Term]:
    q, n = cache.query_tokens * group.prefill_share, cache.context * group.prefill_share
    shape: Symbols = {"L": group.layers, "H": split.queries(group), "B": cache.batch}
    # A prefill of a latent cache expands keys and values, so its products are those of ordinary heads.
    k, v = group.prefill_dims
    if group.index_top_k is not None:
        return _indexed_flops(group, cache, shape)
    if group.kind == "chunked" and group.window is not None:
        pairs = chunked_pairs(q, n, group.window)
    else:
        pairs = causal_pairs(q, n, group.window)
    # Tokens that go through the layers lie all over the prompt: they have their part of the pairs.
    pairs = pairs * cache.execution.computed_share
    return [
        term("scores and weighted sum", "matrix", "2 * L * H * (k + v) * B * P", _FLASH, k=k, v=v, P=pairs, **shape),
        term("softmax", "vector", "5 * L * H * B * P", _FLASH, compulsory=False, P=pairs, **shape),
    ]


def _indexed_flops(group: CacheGroup, cache: Cache, shape: Symbols) -> list[Term]:
    """Sparse attention runs absorbed over the chosen tokens, or expanded over all of them where that is less work."""
    q, n = cache.query_tokens, cache.context
    pairs, chosen = causal_pairs(q, n, None), causal_pairs(q, n, group.index_top_k)
    k, v = group.prefill_dims
    return [
        term("scores and weighted sum", "matrix", "2 * L * H * B * min((k + v) * P, (c + w) * S)", _INDEX,
             k=k, v=v, P=pairs, c=group.head_dim, w=group.value_dim, S=chosen, **shape),
        term("softmax", "vector", "5 * L * H * B * S", _FLASH, compulsory=False, S=chosen, **shape),
        term("score the index", "matrix", "2 * L * I * d * B * P", _INDEX, dtype="fp8",
             L=group.layers, I=group.indexer[0], d=group.indexer[1], B=cache.batch, P=pairs),
    ]  # fmt: skip
