"""Traffic of the attention kernel of one layer group in one step, on one rank: fused, in parts, and unfused.

The kernel reads queries and cache and writes outputs; appending the new tokens to the cache is another kernel's work,
as are the choice of pages and the index of sparse attention.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kvwall.simulator.cache import Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.io.arrays import floats
from kvwall.simulator.io.decode_counts import split_decode_counts
from kvwall.simulator.io.exact_counts import flash_counts
from kvwall.simulator.io.on_chip import OnChip
from kvwall.simulator.io.scheme_kernels import KernelNeed, content, converted, rebuilt_channels
from kvwall.simulator.io.splits import flash3_splits
from kvwall.simulator.io.tiles import Tile
from kvwall.simulator.operators.prefill import causal_pairs, chunked_pairs, earlier_tokens
from kvwall.simulator.operators.split import Split, attended_by
from kvwall.simulator.segments import part_of
from kvwall.simulator.traffic import Array, Numeric

#: Passes over 16-bit scores of unfused attention: S and P are each written and read.
_SCORE_PASSES = 4.0
_ELEMENT_BYTES = 2.0


@dataclass(frozen=True, slots=True)
class LayerIo:
    """Bytes of one layer on one rank.

    :ivar compulsory_bytes: queries, cache and outputs, each once
    :ivar counted_bytes: what the fused kernel moves into the compute units
    :ivar extra_bytes: further traffic of the fused kernel that no cache can save (partial outputs of splits)
    :ivar dense_bytes: the 16-bit copy that a conversion or rebuild in a kernel of its own would write
    :ivar score_bytes: what scores in device memory would move
    :ivar pairs: query-key pairs
    :ivar row_blocks: thread blocks that read one head of the cache
    :ivar heads: heads of the cache over all sequences
    """

    compulsory_bytes: Numeric
    counted_bytes: Numeric
    extra_bytes: Numeric
    dense_bytes: Numeric
    score_bytes: Numeric
    pairs: Numeric
    row_blocks: Numeric
    heads: Numeric

    @property
    def copied_bytes(self) -> Numeric:
        """Traffic into the units when another kernel writes a 16-bit copy, which the row blocks then walk."""
        return self.compulsory_bytes + self.extra_bytes + self.dense_bytes * (1.0 + self.row_blocks)

    @property
    def cache_head_bytes(self) -> Numeric:
        """Compulsory bytes of one head of one sequence."""
        return self.compulsory_bytes / np.maximum(self.heads, 1.0)


def decode_rows(group: CacheGroup, cache: Cache, split: Split, need: KernelNeed) -> Numeric:
    """Query rows that share one head of the cache: grouped heads times new tokens, gathered over token-split ranks."""
    heads = max(1, -(-need.heads // split.tp))
    return split.queries(group) * split.dcp / heads * cache.query_tokens


def decode_io(group: CacheGroup, cache: Cache, split: Split, need: KernelNeed, tile: Tile, chip: OnChip) -> LayerIo:
    """A decode kernel with packed heads and split keys.

    Cache ``sum e b / 8 B n`` once from device memory and once per row block (and per head that shares a latent) into
    the units; queries, outputs and workspace as in :func:`split_decode_counts`; a copy in a kernel of its own would add
    ``2 dense``, scores in memory ``4 P s``.
    """
    heads = max(1.0, float(-(-need.heads // split.tp)))
    rows = decode_rows(group, cache, split, need)
    row_blocks = np.ceil(rows / tile.row_tile)
    stored, walked, dense = _cache_walk(group, cache, split, heads, rows, tile, chip)
    attended = attended_by(group, "device")
    query_heads = split.queries(group) * split.dcp
    work = cache.batch * heads * row_blocks
    key_blocks = np.maximum(1.0, np.ceil(attended / split.dcp / tile.column_tile))
    splits = flash3_splits(work, chip.units, key_blocks)
    counts = split_decode_counts(
        cache.batch, query_heads, group.head_dim, need.fused.output_dim, walked, splits, cache.query_tokens
    )
    ends = _ELEMENT_BYTES * cache.batch * query_heads * cache.query_tokens * (group.head_dim + need.fused.output_dim)
    pairs = query_heads * cache.batch * cache.query_tokens * attended / split.dcp
    return LayerIo(
        compulsory_bytes=stored + ends,
        counted_bytes=counts.total_bytes,
        extra_bytes=counts.combine_bytes + counts.lse_bytes,
        dense_bytes=dense,
        score_bytes=_SCORE_PASSES * _ELEMENT_BYTES * pairs,
        pairs=pairs,
        row_blocks=row_blocks,
        heads=heads * cache.batch,
    )


def _cache_walk(
    group: CacheGroup, cache: Cache, split: Split, heads: float, rows: Numeric, tile: Tile, chip: OnChip
) -> tuple[Array, Array, Array]:
    """Bytes of the cache once, as the row blocks walk it, and of the 16-bit copy of what is converted or rebuilt."""
    stored, walked, dense = (floats(0.0) for _ in range(3))
    for tensor in content(group):
        own = split.elements(tensor)
        # A head that shares a latent with others reads it for itself, through the last-level cache.
        per_head = max(own, heads * tensor.channels / split.dcp)
        channels = rebuilt_channels(tensor, group)
        for segment in (s for s in tensor.segments if s.attend_on == "device"):
            tokens = floats(cache.batch * segment.read)
            blocks = np.ceil(rows * _sharing(tensor, segment, group) / tile.row_tile)
            stored = stored + own * segment.bits.effective / 8 * tokens
            walked = walked + per_head * segment.bits.effective / 8 * tokens * blocks
            width = heads * channels / split.dcp if channels else own * converted(segment.bits, chip)
            dense = dense + width * _ELEMENT_BYTES * tokens
    return stored, walked, dense


def _sharing(tensor: Tensor, segment: Segment, group: CacheGroup) -> Numeric:
    """Sequences whose queries share one read of ``segment``: as many as explain what is attended beyond all reads."""
    if segment.label != "shared prefix":
        return np.float64(1.0)
    read = sum((s.read for s in tensor.segments), start=np.float64(0.0))
    return 1.0 + part_of(np.maximum(group.attended - read, 0.0), segment.read)


def prefill_io(group: CacheGroup, cache: Cache, split: Split, need: KernelNeed, tile: Tile) -> LayerIo:
    """A prefill kernel: one block of query rows of one head at a time over the keys before it.

    Into the units as :func:`flash_counts` says, times the query heads; from device memory at least queries and outputs
    of all heads and keys and values once per key-value head, earlier tokens as they are stored. A layer of chunks
    counts its chunks whole; an indexer lets each query gather its own ``top_k`` tokens for all heads.
    """
    q, n = cache.query_tokens, cache.context
    queries, heads = float(split.queries(group)), max(1.0, float(-(-need.heads // split.tp)))
    key, value = group.prefill_dims
    row = (key + value) * _ELEMENT_BYTES
    earlier = earlier_tokens(group, cache)
    seen = np.minimum(n, q + earlier)
    stored = sum(
        (split.elements(t) * split.dcp * t.segments[0].bits.effective / 8 for t in content(group)),
        start=np.float64(0.0),
    )
    old = heads * row if group.kind == "mla" else np.minimum(stored, heads * row)
    ends = cache.batch * q * queries * (key + value) * _ELEMENT_BYTES
    compulsory = cache.batch * (q * heads * row + (seen - q) * old) + ends
    pairs = cache.batch * queries * _pairs(group, q, n)
    blocks, per_head = _walked(group, q, n, tile)
    each = row if group.index_top_k is None else row / queries
    return LayerIo(
        compulsory_bytes=compulsory,
        counted_bytes=np.maximum(ends + cache.batch * queries * per_head * each, compulsory),
        extra_bytes=np.float64(0.0),
        dense_bytes=np.float64(0.0),
        score_bytes=_SCORE_PASSES * _ELEMENT_BYTES * pairs,
        pairs=pairs,
        row_blocks=blocks * queries / heads,
        heads=heads * cache.batch,
    )


def _pairs(group: CacheGroup, q: Numeric, n: Numeric) -> Numeric:
    """Query-key pairs of one head of one sequence."""
    if group.kind == "chunked" and group.window is not None:
        return chunked_pairs(q, n, group.window)
    return causal_pairs(q, n, group.index_top_k if group.index_top_k is not None else group.window)


def _walked(group: CacheGroup, q: Numeric, n: Numeric, tile: Tile) -> tuple[Numeric, Numeric]:
    """Row blocks of one head of one sequence, and the keys that they walk."""
    if group.index_top_k is not None:
        return floats(q), causal_pairs(q, n, group.index_top_k)
    repeats: Numeric = 1.0
    left = None if group.window is None else group.window - 1
    if group.kind == "chunked" and group.window is not None:
        repeats, left = np.maximum(1.0, floats(q) / group.window), None
        q, n = np.minimum(q, group.window), np.minimum(n, group.window)
    counts = flash_counts(q, n, 1.0, 0.0, tile.row_tile, tile.column_tile, window_left=left)
    return counts.row_blocks * repeats, counts.keys_visited * repeats
