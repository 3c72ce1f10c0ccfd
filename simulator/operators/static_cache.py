"""Attention in code that a compiler makes of plain products: over a static cache, query head by query head.

The cache is as long as the longest sequence from the start, and every step multiplies all of it and masks what is not
filled. Keys and values are repeated for the query heads that share them; a compiled step fuses the repetition, so that
memory is read once and the shared last-level cache once per query head. A prompt runs uncompiled: scores of every key
pass memory between the product, the mask and the softmax, and the repeated keys and values are written and read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kvwall.simulator.cache import Cache, CacheGroup
from kvwall.simulator.operators.prefill import causal_pairs
from kvwall.simulator.operators.split import Split
from kvwall.simulator.traffic import Numeric, Operator, Symbols, Term, term

_STATIC = "gpt-fast: model.py, scaled_dot_product_attention by plain products over a static, repeated cache"
_ATTENTION = ("decode attention", "prefill attention")


def over_static_cache(
    operators: Sequence[Operator], cache: Cache, split: Split, longest: Numeric
) -> tuple[Operator, ...]:
    """``operators`` with what attention over a static cache of ``longest`` tokens pays; no fit prices its kernels.

    Layers whose cache is not plain, per-head keys and values on the device keep their kernel.
    """
    groups = iter(group for group in cache.groups if group.kind != "linear")
    made: list[Operator] = []
    for operator in operators:
        if operator.owner == "attention" and operator.name.startswith(_ATTENTION):
            group = next(groups)
            if _is_plain(group):
                reserved = np.maximum(cache.context, longest)
                more = _prompt(group, cache, split, reserved) if cache.prefill else _step(group, cache, split, reserved)
                operator = replace(operator, terms=(*operator.terms, *more), call=None, basis=None)
        made.append(operator)
    return tuple(made)


def _is_plain(group: CacheGroup) -> bool:
    plain = all(t.role in {"key", "value"} and len(t.segments) == 1 for t in group.tensors)
    return group.window is None and len(group.tensors) == 2 and plain


def _step(group: CacheGroup, cache: Cache, split: Split, reserved: Numeric) -> list[Term]:
    terms: list[Term] = []
    for tensor in group.tensors:
        segment = tensor.segments[0]
        shape: Symbols = {"L": group.layers, "e": split.elements(tensor), "b": segment.bits.effective, "B": cache.batch}
        terms += [
            term(f"read unfilled {tensor.role}", "hbm", "L * e * b / 8 * B * (N - n)", _STATIC, compulsory=False,
                 N=reserved, n=segment.read, **shape),
            term(f"read {tensor.role} for every query head", "l2", "L * e * G * b / 8 * B * N", _STATIC,
                 compulsory=False, G=_shared_by(group), N=reserved, **shape),
        ]  # fmt: skip
    return terms


def _prompt(group: CacheGroup, cache: Cache, split: Split, reserved: Numeric) -> list[Term]:
    key, value = group.prefill_dims
    shape: Symbols = {
        "L": group.layers, "H": split.queries(group), "B": cache.batch, "q": cache.query_tokens, "N": reserved,
    }  # fmt: skip
    repeated: list[Term] = [
        term(f"repeat {tensor.role}", "hbm", "2 * L * e * G * b / 8 * B * N", _STATIC, compulsory=False,
             L=group.layers, e=split.elements(tensor), G=_shared_by(group), b=tensor.segments[0].bits.effective,
             B=cache.batch, N=reserved)
        for tensor in group.tensors
    ]  # fmt: skip
    return [
        *repeated,
        # Written by the product, read and written by the mask and the softmax, read by the second product.
        term("move scores", "hbm", "12 * L * H * B * q * N", _STATIC, compulsory=False, **shape),
        term("multiply the masked part", "matrix", "2 * L * H * (k + v) * B * (q * N - P)", _STATIC, compulsory=False,
             k=key, v=value, P=causal_pairs(cache.query_tokens, cache.context, group.window), **shape),
    ]  # fmt: skip


def _shared_by(group: CacheGroup) -> float:
    """Query heads of one key head."""
    return group.q_heads / group.kv_heads
