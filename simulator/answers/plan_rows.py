"""The rows of a plan's answer: candidates and rejections."""

from __future__ import annotations

from kvwall.simulator.answers.base import Part, Range, band, number
from kvwall.simulator.planning.choice import Chosen
from kvwall.simulator.planning.combinations import Rejected
from kvwall.simulator.planning.flags import engine_flags, unoffered
from kvwall.simulator.planning.quality_limit import published
from kvwall.simulator.planning.question import Question
from kvwall.simulator.quality import Evidence

#: Kinds of rejections of combinations that fit.
SERVED_TOO_SLOWLY = ("TPOT", "TTFT")


class Candidate(Part):
    """One way to serve the workload within its targets.

    :ivar batch: sequences decoded at once in the whole deployment
    :ivar users: concurrent users served
    :ivar step_s: decode step at the middle of the band, without the prefills of others
    :ivar prefill_s: prefill of one mean request, alone
    :ivar others_prefill_s: what the prefills of other requests add to each token
    :ivar wait_s: part of the TTFT that is a wait for a place in the batch
    :ivar offered: the engine has a flag for every scheme of the stack
    """

    rank: int
    scheme: str
    weights: str
    tp: int
    pp: int
    dp: int
    ep: int
    attn_dp: int
    batch: int
    users: int
    ttft_s: Range
    tpot_s: Range
    tokens_per_s: Range
    tokens_per_s_per_gpu: Range
    usd_per_million_tokens: float | None
    kv_tokens: Range
    max_concurrency: Range
    pareto: bool
    tied_with: tuple[int, ...]
    quality: tuple[Evidence, ...]
    engine_flags: str
    offered: bool
    step_s: float
    tokens_per_step: float
    ideal_step_s: float
    prefill_s: float
    others_prefill_s: float
    wait_s: float


class RejectedRow(Part):
    """Combinations that cannot answer; ``null`` in a degree means any split.

    :ivar ratio: by which factor the best batch misses its worst target
    """

    scheme: str
    tp: int | None
    weights: str
    reason: str
    pp: int | None
    dp: int | None
    ep: int | None
    attn_dp: int | None
    kind: str
    ratio: float | None


def candidate_of(chosen: Chosen, question: Question, ranks: set[int]) -> Candidate:
    """One choice as a row.

    :param ranks: ranks that are listed, to which ties are kept
    """
    row, at = chosen.priced, chosen.at
    setup = row.combination.setup
    d, batch = setup.deployment, int(row.batch[at])
    low, mid, high = row.low, row.mid, row.high
    tokens = Range(
        low=number(high.tokens_per_s[at]), mid=number(mid.tokens_per_s[at]), high=number(low.tokens_per_s[at])
    )
    tokens_per_step = setup.emitted
    ttft, step = number(mid.ttft_s[at]), number(row.kernels.step_s[at])
    users = question.load.users
    spread = setup.engine.serving.queue(setup.expert_layers > 0).ttft_spread
    return Candidate(
        rank=chosen.rank,
        scheme=row.combination.scheme,
        weights=setup.weights_name,
        tp=d.tp,
        pp=d.pp,
        dp=d.dp,
        ep=d.ep,
        attn_dp=d.attn_dp,
        batch=batch,
        users=int(number(mid.users[at]) * (1 + 1e-9)) if users is None else users,
        ttft_s=Range(low=ttft / spread, mid=ttft, high=ttft * spread),
        tpot_s=Range(low=number(low.tpot_s[at]), mid=number(mid.tpot_s[at]), high=number(high.tpot_s[at])),
        tokens_per_s=tokens,
        tokens_per_s_per_gpu=Range(low=tokens.low / d.gpus, mid=tokens.mid / d.gpus, high=tokens.high / d.gpus),
        usd_per_million_tokens=None if row.usd_per_million_tokens is None else number(row.usd_per_million_tokens[at]),
        kv_tokens=band(row.capacity.kv_tokens),
        max_concurrency=band(row.capacity.max_concurrency),
        pareto=chosen.pareto,
        tied_with=tuple(rank for rank in chosen.tied_with if rank in ranks),
        quality=published(setup.stack),
        engine_flags=engine_flags(row.combination, batch),
        offered=not unoffered(row.combination),
        step_s=step,
        tokens_per_step=tokens_per_step,
        ideal_step_s=number(row.ideal_step_s[at]),
        prefill_s=row.kernels.prefill_s,
        others_prefill_s=number(mid.tpot_s[at]) - step / tokens_per_step,
        wait_s=number(mid.wait_s[at]),
    )


def rejected_row(item: Rejected) -> RejectedRow:
    """One rejection as a row."""
    d = item.deployment
    return RejectedRow(
        scheme=item.scheme,
        tp=d.tp if d else None,
        weights=item.weights,
        reason=item.reason,
        pp=d.pp if d else None,
        dp=d.dp if d else None,
        ep=d.ep if d else None,
        attn_dp=d.attn_dp if d else None,
        kind=item.kind,
        ratio=item.ratio,
    )
