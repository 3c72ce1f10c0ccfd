"""What of the traffic into the compute units reaches device memory, given a last-level cache that all units share."""

from __future__ import annotations

import numpy as np

from kvwall.simulator.io.arrays import floats
from kvwall.simulator.traffic import Array, Numeric

#: Part of the last-level cache that streams of keys and values can be counted on to keep (assumption).
USABLE_L2_FRACTION = 0.6


def key_passes(
    row_blocks: Numeric,
    concurrent_blocks: Numeric,
    head_cache_bytes: Numeric,
    l2_bytes: Numeric,
    share: float = USABLE_L2_FRACTION,
) -> Array:
    """Times that keys and values of one head cross from device memory: between 1 and its row blocks.

    ``1 + (waves - 1) (1 - kept)``, ``waves = max(1, T_r / concurrent)``: blocks of one wave walk the keys side by side
    and share each read; the next wave finds in the cache the part ``kept = min(1, 0.6 L2 / bytes in flight)``, bytes in
    flight being the heads that one wave covers. A model, not a law: it assumes that a wave stays in step.

    :param row_blocks: blocks of query rows of one head ``T_r``
    :param concurrent_blocks: thread blocks that run at once: units times occupancy
    :param head_cache_bytes: keys and values of one head of one sequence
    :param l2_bytes: capacity of the last-level cache
    """
    blocks = np.maximum(floats(row_blocks), 1.0)
    slots = np.maximum(floats(concurrent_blocks), 1.0)
    waves = np.maximum(1.0, blocks / slots)
    in_flight = np.maximum(1.0, np.ceil(slots / blocks)) * head_cache_bytes
    usable = share * floats(l2_bytes)
    kept = np.minimum(1.0, usable / np.maximum(in_flight, 1.0))
    return 1.0 + (waves - 1.0) * (1.0 - kept)


def device_memory_bytes(
    compulsory_bytes: Numeric, counted_bytes: Numeric, passes: Numeric, row_blocks: Numeric
) -> Array:
    """Bytes from device memory: ``compulsory + (counted - compulsory) (passes - 1) / (T_r - 1)``.

    Equal to the compulsory traffic when keys cross once and to the count of the kernel when every row block reads them
    from device memory.

    :param counted_bytes: what the kernel moves into the units, an exact count
    :param passes: of :func:`key_passes`
    :param row_blocks: ``T_r``
    """
    least, most = floats(compulsory_bytes), floats(counted_bytes)
    again = floats(passes) - 1.0
    extra = floats(row_blocks) - 1.0
    part = np.divide(again, extra, out=np.zeros(np.broadcast_shapes(again.shape, extra.shape)), where=extra > 0)
    return floats(least + np.maximum(most - least, 0.0) * np.clip(part, 0.0, 1.0))
