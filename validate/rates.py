"""Bytes of one token: the rows whose printed pool and tokens (or need and length) give them."""

from __future__ import annotations

from kvwall.simulator.answers.base import Part
from kvwall.validate.log_rows import GIB, LogRow, half_width, pool_rows, refusal_rows

#: Beyond the printed digits, what may remain between the printed and the computed bytes of a token.
TOLERANCE = 0.001


class RateCheck(Part):
    """One row: bytes of one token of one rank, and the tokens that the printed pool holds.

    :ivar tolerance: 0.1 % and half of the last printed digit, as a fraction
    :ivar tokens_within: tokens that the printed digits, one block and the bytes of a token leave open
    """

    id: str
    engine: str
    model: str
    inferred: bool
    scheme: str
    tp: int
    printed_bytes: float
    predicted_bytes: float
    error: float
    tolerance: float
    holds: bool
    printed_tokens: int
    predicted_tokens: int
    tokens_within: float
    tokens_hold: bool


def rate_checks() -> tuple[RateCheck, ...]:
    """All rows marked ``audit: rate``."""
    return tuple(_check(row) for row in (*pool_rows(), *refusal_rows()) if row.audit == "rate")


def _check(row: LogRow) -> RateCheck:
    """``error = predicted / printed - 1`` of the bytes of a token; tokens by the engine's rule for its blocks."""
    printed_gib = row.kv_gib or row.needed_gib or "0"
    tokens = row.stored_tokens or row.max_model_len or 1
    gib, half = float(printed_gib), half_width(printed_gib)
    if "keys and values are printed apart" in row.reading:
        half *= 2
    capacity = row.capacity
    printed = gib * GIB / tokens
    predicted = capacity.bytes_per_token
    error = predicted / printed - 1
    tolerance = TOLERANCE + half / gib
    held = capacity.tokens(gib * GIB) if row.is_known_engine else gib * GIB // predicted
    within = half * GIB / predicted + capacity.setup.block
    return RateCheck(
        id=row.id,
        engine=row.engine,
        model=row.model,
        inferred=row.architecture == "inferred",
        scheme=row.scheme or "none",
        tp=row.tp,
        printed_bytes=printed,
        predicted_bytes=predicted,
        error=error,
        tolerance=tolerance,
        holds=abs(error) <= tolerance,
        printed_tokens=tokens,
        predicted_tokens=int(held),
        tokens_within=within,
        tokens_hold=abs(held - tokens) <= within,
    )
