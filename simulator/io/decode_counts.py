"""Exact traffic of decode attention with the keys of a sequence split over thread blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kvwall.simulator.io.arrays import floats
from kvwall.simulator.traffic import Array, Numeric


@dataclass(frozen=True, slots=True)
class DecodeCounts:
    """Bytes of one layer of decode attention, all heads and sequences.

    :ivar cache_bytes: keys and values, each read once per block of query rows
    :ivar query_bytes: every split reads the queries again
    :ivar workspace_bytes: partial outputs and log-sum-exps of the splits, fp32; none with one split
    """

    cache_bytes: Array
    query_bytes: Array
    output_bytes: Array
    lse_bytes: Array
    workspace_bytes: Array

    @property
    def combine_bytes(self) -> Array:
        """The workspace is written by the splits and read by the kernel that merges them."""
        return 2 * self.workspace_bytes

    @property
    def total_bytes(self) -> Array:
        """All traffic of the layer."""
        return self.cache_bytes + self.query_bytes + self.output_bytes + self.lse_bytes + self.combine_bytes


def split_decode_counts(
    batch: Numeric,
    query_heads: Numeric,
    head_dim: Numeric,
    value_dim: Numeric,
    cache_bytes: Numeric,
    splits: Numeric,
    query_tokens: Numeric = 1.0,
    element_bytes: Numeric = 2.0,
) -> DecodeCounts:
    """Split-KV decode: ``S`` thread blocks a head, then one that merges them by their log-sum-exps.

    ``kv + e B H s d S + e B H s d_v + 4 B H s + 2 ws``, ``ws = 4 S B H s (d_v + 1)`` where ``S > 1``, else 0. Valid
    where the rows of the heads that share a key-value head fit one tile, so that the cache is read once. Dao et al.
    2023, Flash-Decoding; buffers as in the FlashAttention repository.

    :param query_heads: heads ``H`` of the device
    :param cache_bytes: stored bytes of keys and values that the layer reads, see :func:`cache_read_bytes`
    :param splits: ``S``
    :param query_tokens: new tokens ``s`` per sequence
    """
    rows = floats(batch) * query_heads * query_tokens
    s, e = floats(splits), floats(element_bytes)
    return DecodeCounts(
        cache_bytes=floats(cache_bytes),
        query_bytes=e * rows * head_dim * s,
        output_bytes=e * rows * value_dim,
        lse_bytes=4 * rows,
        workspace_bytes=np.where(s > 1, 4 * s * rows * (floats(value_dim) + 1), 0.0),
    )


def cache_read_bytes(
    batch: Numeric, kv_heads: Numeric, tokens: Numeric, row_elements: Numeric, element_bytes: Numeric = 2.0
) -> Array:
    """Keys and values read once: ``e B H_kv L (d + d_v)``; for a latent cache one head with its row (576 in DeepSeek).

    Kwon et al. 2023, arXiv 2309.06180, section 2; DeepSeek-AI 2024, arXiv 2405.04434, section 2.1.

    :param row_elements: elements of one token and head, keys and values together
    """
    return floats(batch) * kv_heads * tokens * row_elements * element_bytes


def page_table_bytes(batch: Numeric, tokens: Numeric, page_tokens: Numeric) -> Array:
    """The page table one reader walks: ``4 B ceil(L / page)``; it stays in the caches. arXiv 2309.06180, section 4."""
    return 4 * floats(batch) * np.ceil(floats(tokens) / page_tokens)


def reduction_overhead(
    shared_by: Numeric,
    query_tokens: Numeric,
    splits: Numeric,
    tokens: Numeric,
    head_dim: Numeric,
    cache_element_bytes: Numeric,
) -> Array:
    """Traffic of merging over that of the cache: ``4 g s S (1 + 1/d) / (e L)`` for ``d = d_v`` and ``S > 1``.

    The quotient ``2 ws / kv`` of :func:`split_decode_counts`.
    """
    g, s = floats(shared_by), floats(splits)
    merged = 4 * g * query_tokens * s * (1 + 1 / floats(head_dim))
    return np.where(s > 1, merged / (floats(cache_element_bytes) * floats(tokens)), 0.0)


def paged_v2_workspace_bytes(
    batch: Numeric, query_heads: Numeric, head_dim: Numeric, longest_tokens: Numeric, partition_tokens: Numeric = 512.0
) -> Array:
    """Workspace of vLLM's second paged-attention kernel: ``B H P (2 d + 8)`` bytes, ``P = ceil(L_max / 512)``.

    Partial outputs in 16 bits and two fp32 statistics for every partition of the longest sequence.
    """
    parts = np.ceil(floats(longest_tokens) / partition_tokens)
    return floats(batch) * query_heads * parts * (2 * floats(head_dim) + 8)
