"""What unfused attention pays beyond a fused kernel: scores that pass through memory, and the masked half of them."""

from __future__ import annotations

import numpy as np

from kvwall.simulator.cache import Cache, CacheGroup
from kvwall.simulator.operators.prefill import causal_pairs, chunked_pairs
from kvwall.simulator.operators.running import seen_by, thinned
from kvwall.simulator.operators.split import Split
from kvwall.simulator.traffic import Numeric, Operator, Symbols, term

#: Bytes that pass memory of one 16-bit score: product 2, scale 4, mask 4, fp32 softmax 6, rounding 6, product 2.
_BYTES = 24.0
#: The same of an fp32 score, which fp32 keys make: start value 4, product 8, masks 16, softmax 8, rounding 6 and 2.
_WIDE_BYTES = 44.0
_EAGER = "transformers, eager attention: product, mask, softmax in fp32 and product, each a kernel of its own"


def eager_scores(cache: Cache, split: Split) -> list[Operator]:
    """The passes of eager attention over its scores: written and read by the product, the mask and the softmax.

    ``24 L H B q n`` bytes of fp32, of all keys; the products of a prompt are those of the whole square. Recurrent
    layers and caches that are not attended to on the device have none.
    """
    made: list[Operator] = []
    for group in (g for g in cache.groups if g.kind != "linear"):
        if any(s.attend_on != "device" for t in group.tensors for s in t.segments):
            continue
        run = cache.execution.attention_run(group.index)
        made += thinned([_passes(group, seen_by(cache, run), split)], run)
    return made


def _passes(group: CacheGroup, cache: Cache, split: Split) -> Operator:
    queries = cache.query_tokens * group.prefill_share if cache.prefill else cache.query_tokens
    keys: Numeric = cache.context * group.prefill_share if cache.prefill else group.attended
    shape: Symbols = {"L": group.layers, "H": split.queries(group), "B": cache.batch, "q": queries, "n": keys}
    wide = any(s.bits.payload == 32 for t in group.tensors if t.role == "key" for s in t.segments)
    passes = _WIDE_BYTES if wide else _BYTES
    terms = [term("move scores", "hbm", "p * L * H * B * q * n", _EAGER, compulsory=False, p=passes, **shape)]
    if cache.prefill:
        key, value = group.prefill_dims
        terms.append(
            term("multiply the masked half", "matrix", "2 * L * H * (k + v) * B * max(0, q * n - P)", _EAGER,
                 compulsory=False, k=key, v=value, P=_pairs(group, queries, keys), **shape)
        )  # fmt: skip
    return Operator("attention", "eager softmax", "elementwise", tuple(terms), 3.0 * group.layers, ranks=split.ranks)


def _pairs(group: CacheGroup, queries: Numeric, keys: Numeric) -> Numeric:
    """Pairs that a fused kernel multiplies."""
    if group.kind == "chunked" and group.window is not None:
        return chunked_pairs(queries, keys, group.window)
    return np.asarray(causal_pairs(queries, keys, group.window))
