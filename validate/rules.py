"""Rows where a rule of the engine, not a rate, makes the number: pages, windows, states, drafts, bugs."""

from __future__ import annotations

from collections.abc import Iterator

from kvwall.simulator.answers.base import Part
from kvwall.simulator.capacity import Capacity
from kvwall.validate.log_rows import GIB, LogRow, half_width, pool_rows, refusal_rows

#: Where the thread itself gives round figures.
_ROUND = {"E020": 0.02, "E021": 0.02}


class RuleCheck(Part):
    """One printed number against the rule that makes it.

    :ivar holds: inside the printed digits and one block, or inside the round figures of the thread
    :ivar rule: what makes the number, or why kvwall does not give it
    """

    id: str
    engine: str
    model: str
    what: str
    unit: str
    printed: float
    predicted: float
    error: float
    holds: bool
    rule: str


def rule_checks() -> tuple[RuleCheck, ...]:
    """All rows marked ``audit: rule``: their tokens, concurrency, need and longest length."""
    marked = [row for row in (*pool_rows(), *refusal_rows()) if row.audit == "rule"]
    return tuple(check for row in marked for check in _checks(row))


def _checks(row: LogRow) -> Iterator[RuleCheck]:
    capacity = row.capacity
    if row.kv_gib is not None:
        yield from _pool(row, capacity, float(row.kv_gib) * GIB, half_width(row.kv_gib) * GIB)
    if row.needed_gib is not None and row.max_model_len is not None:
        need = _need(capacity, row.max_model_len) / GIB
        yield _made(row, "KV needed", "GiB", float(row.needed_gib), need, half_width(row.needed_gib))
    if row.available_gib is not None and row.longest_tokens is not None and row.max_model_len is not None:
        pool, half = float(row.available_gib) * GIB, half_width(row.available_gib) * GIB
        low, mid, high = (_longest(capacity, pool + x, row.max_model_len) for x in (-half, 0.0, half))
        block = capacity.paging.block_tokens
        yield _made(row, "longest sequence", "tokens", row.longest_tokens, mid, max(high - mid, mid - low) + block)


def _pool(row: LogRow, capacity: Capacity, pool: float, half: float) -> Iterator[RuleCheck]:
    if row.part == "full" and row.tokens is not None:
        groups = [g for g in capacity.setup.model.attention if g.kind == "full"]
        need = sum(2.0 * g.layers * g.cached_values_per_token for g in groups) * row.tokens
        yield _made(row, "full layers", "GiB", pool / GIB, need / GIB, half / GIB)
        return
    pool -= row.fixed_bytes
    block = capacity.paging.block_tokens * capacity.setup.deployment.dcp
    if row.tokens is not None:
        low, mid, high = (capacity.tokens(pool + x) for x in (-half, 0.0, half))
        yield _made(row, "tokens", "tokens", row.tokens, mid, max(high - mid, mid - low) + block)
    layout = capacity.layout
    if row.blocks is not None and layout is not None:
        yield _made(row, "blocks", "blocks", row.blocks, layout.blocks(pool), 1 + half / layout.block_bytes)
    if row.concurrency is not None:
        low, mid, high = (_concurrency(capacity, pool + x) for x in (-half, 0.0, half))
        within = max(high - mid, mid - low) + half_width(row.concurrency)
        yield _made(row, "concurrency", "requests", float(row.concurrency), mid, within)


def _made(row: LogRow, what: str, unit: str, printed: float, predicted: float, within: float) -> RuleCheck:
    error = predicted / printed - 1
    return RuleCheck(
        id=row.id,
        engine=f"{row.engine} {row.version or ''}".strip(),
        model=row.model,
        what=what,
        unit=unit,
        printed=printed,
        predicted=predicted,
        error=error,
        holds=abs(predicted - printed) <= within or abs(error) <= _ROUND.get(row.id, 0.0),
        rule=row.reading,
    )


def _concurrency(capacity: Capacity, pool: float) -> float:
    """As the engine prints it: the block that holds no token is not taken off."""
    if capacity.layout is None:
        return capacity.tokens(pool) / capacity.context
    return capacity.layout.blocks(pool) / float(capacity.layout.request_blocks(capacity.context))


def _need(capacity: Capacity, length: float) -> float:
    if capacity.layout is None:
        return float(capacity.sequence_bytes(length))
    return float(capacity.layout.request_blocks(length)) * capacity.layout.block_bytes


def _longest(capacity: Capacity, pool: float, asked: int) -> float:
    low, high = 0, 2 * asked
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _need(capacity, middle) <= pool else (low, middle - 1)
    return float(low)
