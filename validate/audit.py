"""``kvwall audit``: predicted KV capacity against what real engines printed."""

from __future__ import annotations

from kvwall.simulator.answers.base import Answer
from kvwall.validate.pools import LEFT_OUT, PoolCheck, PoolSummary, pool_checks, summarize
from kvwall.validate.rates import RateCheck, rate_checks
from kvwall.validate.rules import RuleCheck, rule_checks
from kvwall.validate.startup_logs import LogCheck, log_checks, log_pools


class AuditAnswer(Answer):
    """Four comparisons with what engines printed.

    :ivar rates: bytes of a token, and tokens of a given pool
    :ivar rules: numbers that pages, windows, states, drafts or a bug make
    :ivar pools: the pool from flags alone
    :ivar logs: quoted start-up logs, their lines against each other
    :ivar pool_summary: errors and coverage of ``pools``
    :ivar left_out: rows that flags cannot predict, with the reason
    """

    rates: tuple[RateCheck, ...]
    rules: tuple[RuleCheck, ...]
    pools: tuple[PoolCheck, ...]
    logs: tuple[LogCheck, ...]
    pool_summary: PoolSummary
    left_out: dict[str, str]


def run_audit() -> AuditAnswer:
    """Compare every row and every quoted log."""
    rows = pool_checks()
    pools = (*rows, *log_pools(frozenset(check.source for check in rows)))
    return AuditAnswer(
        rates=rate_checks(),
        rules=rule_checks(),
        pools=pools,
        logs=log_checks(),
        pool_summary=summarize(pools),
        left_out=LEFT_OUT,
    )
