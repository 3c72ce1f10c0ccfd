"""Decode attention with split keys: hand-made vectors and limits."""

from __future__ import annotations

import numpy as np
import pytest

from kvwall.simulator.io.decode_counts import (
    cache_read_bytes,
    page_table_bytes,
    paged_v2_workspace_bytes,
    reduction_overhead,
    split_decode_counts,
)


@pytest.mark.parametrize(
    ("b", "hq", "length", "splits", "expected"),
    [
        (1, 32, 32768, 16, (134217728, 131072, 8192, 128, 264192, 528384, 134885504)),
        (8, 32, 4096, 1, (134217728, 65536, 65536, 1024, 0, 0, 134349824)),
        (64, 64, 8192, 2, (2147483648, 2097152, 1048576, 16384, 4227072, 8454144, 2159099904)),
    ],
)
def test_split_decode_counts(b, hq, length, splits, expected):
    kv = cache_read_bytes(b, 8, length, 256)
    c = split_decode_counts(b, hq, 128, 128, kv, splits)
    found = (
        c.cache_bytes,
        c.query_bytes,
        c.output_bytes,
        c.lse_bytes,
        c.workspace_bytes,
        c.combine_bytes,
        c.total_bytes,
    )
    assert tuple(float(v) for v in found) == expected


def test_latent_cache_of_deepseek():
    # 576 elements of 2 bytes, or the 656-byte row of the 8-bit format, once for all heads.
    assert float(cache_read_bytes(1, 1, 131072, 576)) == 131072 * 1152
    assert float(cache_read_bytes(1, 1, 131072, 656, 1)) == 131072 * 656


def test_reduction_overhead_is_the_quotient_of_the_counts():
    length, splits = np.array([1024.0, 32768.0]), 16
    counts = split_decode_counts(1, 32, 128, 128, cache_read_bytes(1, 8, length, 256), splits)
    overhead = reduction_overhead(4, 1, splits, length, 128, 2)
    assert overhead == pytest.approx(counts.combine_bytes / counts.cache_bytes)
    assert overhead == pytest.approx([0.125 * (1 + 1 / 128), 0.125 / 32 * (1 + 1 / 128)])
    assert float(reduction_overhead(4, 1, 1, 1024, 128, 2)) == 0


def test_more_splits_never_move_less():
    totals = split_decode_counts(2, 32, 128, 128, 1e6, np.arange(1, 20)).total_bytes
    assert np.all(np.diff(totals) > 0)


def test_tables_and_workspaces_by_hand():
    assert float(page_table_bytes(3, 33, 16)) == 4 * 3 * 3
    # 1025 tokens are 3 partitions of 512; a partial output of 128 halves and two floats each.
    assert float(paged_v2_workspace_bytes(2, 32, 128, 1025)) == 2 * 32 * 3 * (256 + 8)
