"""Ragged batches: sequences of unequal length in one decode step.

Every term of a decode step is linear in what one sequence stores, reads and attends to, so a ragged batch costs what a
batch of its mean sequence costs: the mean of each amount, not the amount at the mean length (a window saturates).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kvwall.hardware.errors import InputError
from kvwall.simulator.cache import Cache, CacheGroup, Segment
from kvwall.simulator.traffic import Array, Numeric, Operator, Term

Ragged = tuple[tuple[int, int], ...]


def ragged_axes(ragged: Ragged) -> tuple[int, Array, Array]:
    """Sequences in all, the distinct contexts, and the part of the sequences at each.

    :param ragged: pairs of context and number of sequences
    :raises InputError: no sequence at all
    """
    count = sum(sequences for _, sequences in ragged)
    if not count:
        raise InputError("--contexts: names no sequence (write for example 8k*30,128k*2)")
    contexts = np.array([float(context) for context, _ in ragged])
    return count, contexts, np.array([sequences / count for _, sequences in ragged])


def averaged(cache: Cache, parts: Array) -> Cache:
    """``cache``, made for an array of contexts, as that of the mean sequence.

    :param parts: part of the sequences at each context, shape (k,), adding up to 1
    """

    def mean(value: Numeric) -> Numeric:
        return value if np.ndim(value) == 0 else np.float64(np.sum(np.asarray(value) * parts))

    def segment(old: Segment) -> Segment:
        return replace(old, stored=mean(old.stored), read=mean(old.read))

    def group(old: CacheGroup) -> CacheGroup:
        return replace(old, tensors=tuple(t.map(segment) for t in old.tensors), attended=mean(old.attended))

    def flat(old: Term) -> Term:
        if np.ndim(old.amount) == 0:
            return old
        symbols = {name: mean(value) for name, value in old.symbols.items()}
        return replace(old, amount=mean(old.amount), equation=f"mean of {old.equation}", symbols=symbols)

    def operator(old: tuple[int, Operator]) -> tuple[int, Operator]:
        return old[0], replace(old[1], terms=tuple(flat(t) for t in old[1].terms))

    return replace(
        cache.map_groups(group),
        context=np.asarray(mean(cache.context)),
        generated=np.asarray(mean(cache.generated)),
        shared_prefix=mean(cache.shared_prefix),
        operators=tuple(operator(o) for o in cache.operators),
        fused=tuple(operator(o) for o in cache.fused),
    )
