"""TPI-LLM's memory scheduler: peak memory of a sliding window of blocks, and when loads stall (arXiv 2410.00531)."""

from __future__ import annotations

from collections.abc import Sequence


def peak_window_parameters(blocks: Sequence[float], window: int) -> float:
    """Most parameters that ``window`` consecutive blocks hold; the window wraps from the last to the first block."""
    count = len(blocks)
    span = min(window, count)
    return max(sum(blocks[(first + i) % count] for i in range(span)) for first in range(count))


def master_blocks(
    layers: int, attention: float, feed_forward: float, embedding: float, head: float, share: float
) -> list[float]:
    """Blocks of the master in order: embedding, then attention and feed-forward of each layer, then the head.

    The master holds both tables whole and ``share`` of each layer.
    """
    return [embedding, *(part for _ in range(layers) for part in (attention * share, feed_forward * share)), head]


def never_stalls(attention_s: float, feed_forward_s: float, sum_s: float, load_a_s: float, load_f_s: float) -> bool:
    """The tight condition: every block loads under the other's computation and sum."""
    return attention_s + sum_s >= load_f_s and feed_forward_s + sum_s >= load_a_s


def star_sum_s(ranks: int, row_bytes: float, path_s: float, master_bytes_per_s: float) -> float:
    """A sum by a star: a message in, one out, all rows through the master's link: ``2 l + 2 (n - 1) S / b``."""
    return 2.0 * path_s + 2.0 * (ranks - 1) * row_bytes / master_bytes_per_s
