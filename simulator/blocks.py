"""A grid in blocks: some batches at every context, priced at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kvwall.simulator.traffic import Array

#: Points priced at once on a large grid; small enough for the caches of a chip, large enough that Python costs little.
BLOCK_POINTS = 1 << 16

#: Freed memory that a grid keeps for its next block, at least.
_KEPT_BYTES = 24 * 2**20


def blocks(batch: Array, context: Array) -> Iterator[Array]:
    """The parts of ``batch`` that are priced at once, each at every one of ``context``."""
    _keep_freed_memory()
    rows = max(1, BLOCK_POINTS // max(1, context.size))
    for start in range(0, batch.size, rows):
        yield batch[start : start + rows]


def _keep_freed_memory() -> None:
    """Let what one block frees serve the next, which else pays a page fault for every 4 kB of each array.

    glibc hands freed memory back to the system beyond twice the largest piece that it once mapped and unmapped
    (``M_MMAP_THRESHOLD`` in mallopt(3)). Such a piece that nobody touches costs nothing.
    """
    np.empty(_KEPT_BYTES, dtype=np.uint8)
