"""Attention that a compiler makes of plain products: over a static cache, query head by query head, in fp32.

The cache is as long as the longest sequence from the start, and every step multiplies all of it and masks what is not
filled. Keys and values are repeated for the query heads that share them. A decode step fuses the repetition, so that
memory is read once and the shared last-level cache once per query head. A prompt writes and reads the repeated keys and
values in fp32, and the scores between a product, the masked softmax and the other product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kvwall.simulator.cache import Cache, CacheGroup
from kvwall.simulator.operators.split import Split
from kvwall.simulator.traffic import Numeric, Operator, Symbols, Term, term

_STATIC = "gpt-fast, model.py: plain products over a static, repeated cache; PyTorch from 2.5 on: such products in fp32"
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
    terms = [_products(group, cache, split, reserved)]
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
    scores = term(
        "move scores", "hbm", "16 * L * H * B * q * N", _STATIC, compulsory=False, L=group.layers,
        H=split.queries(group), B=cache.batch, q=cache.query_tokens, N=reserved,
    )  # fmt: skip
    repeated = [
        term(f"repeat {tensor.role}", "hbm", "8 * L * e * G * B * N", _STATIC, compulsory=False, L=group.layers,
             e=split.elements(tensor), G=_shared_by(group), B=cache.batch, N=reserved)
        for tensor in group.tensors
    ]  # fmt: skip
    return [_products(group, cache, split, reserved), scores, *repeated]


def _products(group: CacheGroup, cache: Cache, split: Split, reserved: Numeric) -> Term:
    key, value = group.prefill_dims if cache.prefill else (group.head_dim, group.value_dim)
    return term(
        "multiply in fp32", "vector", "2 * L * H * (k + v) * B * q * N", _STATIC, compulsory=False, L=group.layers,
        H=split.queries(group), k=key, v=value, B=cache.batch, q=cache.query_tokens, N=reserved,
    )  # fmt: skip


def _shared_by(group: CacheGroup) -> float:
    """Query heads of one key head."""
    return group.q_heads / group.kv_heads
