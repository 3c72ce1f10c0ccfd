"""Lower bounds on the traffic of exact attention between two levels of memory, with explicit constants.

Saha and Ye 2024 (arXiv 2402.07443) prove the orders: ``N^2 d^2 / M`` where ``M >= d^2`` and ``N^2 d / sqrt(M)`` below,
``M`` being the capacity of the fast level. Orders have no constants, so nothing numerical follows from them. The
bounds here carry constants and are proved in their docstrings, in the red-blue pebble game of Hong and Kung 1981:
values move one by one between a fast level of limited and a slow level of unlimited capacity, and may be recomputed.
They hold for algorithms that form each score as a sum of ``d`` ordinary products (not for fast matrix multiplication)
and each output as a sum of weights times values.

All of them cut a run into segments of ``T`` units of traffic, bound the work that one segment can do by what it can
reach, and divide. The work of several independent problems (heads, sequences) in one segment is at most that of one
problem with all of the capacity, because the bounds on the work are convex; so ``pairs`` counts all of them, under any
mask, and the last, unfinished segment is subtracted once.
"""

from __future__ import annotations

import numpy as np

from kvwall.simulator.io.arrays import floats
from kvwall.simulator.traffic import Array, Numeric

#: Length of a segment over the capacity: 1 is best where the scores of whole rows dominate, 4 where parts of them do.
_SEGMENTS = (1.0, 4.0)


def compulsory_attention_elements(
    queries: Numeric, keys: Numeric, head_dim: Numeric, value_dim: Numeric, shared_by: Numeric = 1.0
) -> Array:
    """Elements that any algorithm moves, whatever its capacity: inputs once, outputs once.

    ``g N_q d + N_k (d + d_v) + g N_q d_v`` per key-value head. The hard floor of every count; valid for any masking
    in which each key is seen by some query.

    :param queries: new tokens ``N_q``
    :param keys: tokens ``N_k`` that at least one query sees
    :param shared_by: query heads ``g`` that share the head
    """
    rows = floats(shared_by) * queries
    return rows * floats(head_dim) + floats(keys) * (floats(head_dim) + value_dim) + rows * value_dim


def score_bound_elements(pairs: Numeric, head_dim: Numeric, capacity: Numeric, units: Numeric = 1.0) -> Array:
    """Elements that any algorithm moves to form the scores of ``pairs`` query-key pairs.

    ``max over t in {1, 4} of  t M P d / W(t) - n t M``, ``W(t) = ((2 + t) M / 3)^1.5 + ((1 + t) M)^2 / (4 d)``; leading
    terms ``P d^2 / M`` for large and ``sqrt(2) P d / sqrt(M)`` for small capacities.

    Proof. In a segment of ``T = t M`` reads and writes, let ``a`` elements of Q and ``b`` of K be reachable (in the
    fast level at its start, or read): ``a + b <= M + T``. A score all of whose products fall into the segment needs a
    whole row of each, so there are at most ``(a/d)(b/d)`` of them, with ``a b / d <= (M + T)^2 / (4 d)`` products. Any
    other score leaves a partial sum that enters or leaves the segment: ``c`` of them, ``a + b + c <= 2 M + T``. By
    Loomis and Whitney 1949 their products number at most ``sqrt(a b c) <= ((2 M + T) / 3)^1.5``.

    :param pairs: query-key pairs over all heads and sequences
    :param head_dim: products of one score ``d``
    :param capacity: elements ``M`` that one fast level holds, registers included
    :param units: processors ``n`` with a fast level each, for the traffic of all of them together
    """
    m, d = floats(capacity), floats(head_dim)
    found: Array = np.zeros(np.broadcast_shapes(np.shape(pairs), m.shape, d.shape, np.shape(units)))
    for t in _SEGMENTS:
        work = ((2 + t) * m / 3) ** 1.5 + ((1 + t) * m) ** 2 / (4 * d)
        found = np.maximum(found, t * m * pairs * d / work - t * m * units)
    return found


def streaming_bound_bytes(
    pairs: Numeric,
    query_row_bytes: Numeric,
    cache_row_bytes: Numeric,
    capacity_bytes: Numeric,
    score_bytes: Numeric = 2.0,
    units: Numeric = 1.0,
) -> Array:
    """Bytes that any algorithm reads to form scores and weighted sums of ``pairs`` query-key pairs.

    ``P min(q w / M, s / 2) - n M``: one query row of ``q`` bytes, the key and value of one token of ``w`` bytes, ``s``
    bytes of a score, ``n`` processors with ``M`` bytes each. With ``q = d``, ``w = d + d_v`` elements the leading term
    is ``(1 + d_v / d) P d^2 / M``: twice the scores alone for equal widths, half of what the best known algorithm
    moves (all of the capacity filled with rows of Q and O: four).

    Proof. In a segment of ``T = M`` bytes read, a product of weight and value either uses a score formed in it, of
    whole rows of Q and K, or a score (or its partial sum) that came from before. With ``x`` rows of Q and ``y`` of K
    reachable, ``v`` elements of V and ``c`` old scores: ``x q + y k + v e + c s <= 2 M``, ``y >= v / d_v``. Products of
    the first sort number at most ``x v <= d_v U^2 / (4 q w)`` within the ``U`` bytes they use, those of the second
    ``d_v c``; the sum is convex in ``U``, so at most ``d_v max(M^2 / (q w), 2 M / s)`` a segment, of ``d_v P`` in all.

    :param pairs: query-key pairs over all heads and sequences
    :param query_row_bytes: one row of Q of one head
    :param cache_row_bytes: what one pair needs of the cache: key and value, or the latent that both are made of; where
        values are columns of the keys (absorbed MLA) the row of the keys
    :param capacity_bytes: one processor's fast level, registers included
    :param score_bytes: a score or partial sum as it would be kept; the smallest format anyone would use
    :param units: processors with a fast level each, for the traffic into all of them together
    """
    each = floats(query_row_bytes) * cache_row_bytes / capacity_bytes
    bound = floats(pairs) * np.minimum(each, floats(score_bytes) / 2) - floats(units) * capacity_bytes
    return np.maximum(bound, 0.0)


def attention_bound_elements(
    pairs: Numeric, head_dim: Numeric, value_dim: Numeric, capacity: Numeric, compulsory: Numeric = 0.0
) -> Array:
    """Elements that any algorithm moves for exact attention: the largest of all proved bounds.

    ``max(compulsory, score bound, streaming bound)``, each of which is proved for every ``M``; the second binds where
    ``M < d^2``, the third where ``M`` is a few ``d^2``, the first where the fast level nearly holds the problem.

    :param pairs: query-key pairs over all heads and sequences
    :param capacity: elements ``M`` of the fast level, registers included
    :param compulsory: of :func:`compulsory_attention_elements`, summed over the same heads and sequences
    """
    scores = score_bound_elements(pairs, head_dim, capacity)
    streaming = streaming_bound_bytes(pairs, head_dim, floats(head_dim) + value_dim, capacity, 1.0)
    return np.maximum(np.maximum(scores, streaming), compulsory)


def constant_of(bound: Numeric, pairs: Numeric, head_dim: Numeric, capacity: Numeric) -> Array:
    """``c`` of ``bound = c P d^2 / M``, the form in which FlashAttention's traffic is usually stated.

    Dao et al. 2022 (arXiv 2205.14135, theorem 2). Any consistent unit; 0 where there are no pairs.

    :param bound: elements moved, or a lower bound on them
    """
    size = floats(capacity)
    form = floats(pairs) * floats(head_dim) ** 2 / np.where(size > 0, size, np.inf)
    shape = np.broadcast_shapes(np.shape(bound), form.shape)
    return np.divide(bound, form, out=np.zeros(shape), where=np.broadcast_to(np.isfinite(form) & (form > 0), shape))


def attention_order_elements(
    queries: Numeric, keys: Numeric, head_dim: Numeric, capacity: Numeric, compulsory: Numeric = 0.0
) -> Array:
    """The order of the optimal traffic without its constant: to compare scaling, never to assert a bound.

    ``N_q N_k d^2 / M`` where ``M >= d^2``, else ``N_q N_k d / sqrt(M)``, plus the compulsory traffic; both are
    ``N_q N_k`` at ``M = d^2``. Saha and Ye 2024, arXiv 2402.07443 (the small-cache lower bound for ordinary products).
    """
    m, d = floats(capacity), floats(head_dim)
    product = floats(queries) * keys
    return product * np.where(m >= d**2, d**2 / m, d / np.sqrt(m)) + compulsory


def backward_order_elements(queries: Numeric, keys: Numeric, head_dim: Numeric, capacity: Numeric) -> Array:
    """The order of the optimal traffic of the backward pass, without its constant.

    ``(N_q N_k d^2 + N d^3) / M`` where ``M >= d^2``, else ``(N_q N_k d + N d^2) / sqrt(M)``, ``N = max(N_q, N_k)``.
    Li et al. 2024, fine-grained attention I/O complexity, arXiv 2410.09397.
    """
    m, d = floats(capacity), floats(head_dim)
    product = floats(queries) * keys
    longest = np.maximum(queries, keys)
    return np.where(m >= d**2, (product * d**2 + longest * d**3) / m, (product * d + longest * d**2) / np.sqrt(m))
