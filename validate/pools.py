"""The cache from flags alone: every row and log whose device and flags are known, against the pool it printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kvwall.simulator.answers.base import Part, Range
from kvwall.validate.log_rows import GIB, LogRow, half_width, pool_rows

#: Rows that flags cannot predict, with the reason.
LEFT_OUT = {
    "E025": "device, split and fraction are not recorded",
    "E027": "this version cached the keys and values of all heads of MLA, which no profile does",
    "E033": "experts lie on the host",
    "E084": "the device is not recorded",
    "E089": "an NPU of another vendor",
    "E177": "another vendor's plug-in",
    "E189": "its compressed cache is in no library",
}


class PoolCheck(Part):
    """One start: what its flags predict and what it printed, in ``unit``.

    :ivar error: middle over printed, less 1; ``None`` where the printed pool is not positive (a refusal)
    """

    id: str
    engine: str
    model: str
    device: str
    tp: int
    unit: str
    printed: float
    predicted: Range
    error: float | None
    inside: bool
    source: str
    reading: str = ""


class PoolSummary(Part):
    """How close the predictions from flags alone are, over the starts with a positive pool."""

    n: int
    median_error: float
    p90_error: float
    bias: float
    coverage: float


def pool_checks() -> tuple[PoolCheck, ...]:
    """All rows whose device, engine and flags are known and that print a pool or its tokens."""
    return tuple(check for row in pool_rows() for check in _check(row))


def summarize(checks: Sequence[PoolCheck]) -> PoolSummary:
    """Median and 90th percentile of |error|, its median sign, and the share of starts inside the band."""
    errors = np.array([check.error for check in checks if check.error is not None])
    if not len(errors):
        return PoolSummary(n=0, median_error=0.0, p90_error=0.0, bias=0.0, coverage=0.0)
    return PoolSummary(
        n=len(checks),
        median_error=float(np.median(np.abs(errors))),
        p90_error=float(np.quantile(np.abs(errors), 0.9)),
        bias=float(np.median(errors)),
        coverage=sum(check.inside for check in checks) / len(checks),
    )


def _check(row: LogRow) -> Iterator[PoolCheck]:
    is_told = row.device is not None or (row.memory_gib is not None and row.memory_is == "visible")
    is_stated = row.kv_gib is not None or row.stored_tokens is not None
    if row.id in LEFT_OUT or not is_told or not is_stated or not row.is_known_engine or row.scheme is None:
        return
    capacity = row.capacity_of(pool=None)
    if row.kv_gib is not None:
        band, printed, half, unit = capacity.pool, float(row.kv_gib), half_width(row.kv_gib), "GiB"
        shares = [x if x <= 0 else capacity.token_pool(x) for x in (band.low, band.mid, band.high)]
        low, mid, high = (x / GIB for x in shares)
    else:
        count = capacity.kv_tokens
        printed, half, unit = float(row.stored_tokens or 0), 0.0, "tokens"
        low, mid, high = count.low, count.mid, count.high
    yield PoolCheck(
        id=row.id,
        engine=f"{row.engine} {row.version or ''}".strip(),
        model=row.model,
        device=row.device or f"{row.memory_gib} GiB visible",
        tp=row.tp,
        unit=unit,
        printed=printed,
        predicted=Range(low=low, mid=mid, high=high),
        error=mid / printed - 1 if printed > 0 else None,
        inside=low - half <= printed <= high + half,
        source=row.source,
        reading=row.reading,
    )
