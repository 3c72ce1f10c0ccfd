"""The lines below the table of ``kvwall plan``: the arithmetic and quality of the pick, and what lost."""

from __future__ import annotations

from collections.abc import Iterator

from kvwall.simulator.answers.plan import PlanAnswer
from kvwall.simulator.answers.plan_rows import Candidate
from kvwall.simulator.cli.output import milliseconds, three

#: Published figures of a pick that are shown.
_MOST_FIGURES = 3
#: Rejections shown, one per class of reason.
_LOSERS = {"TPOT": "misses TPOT", "TTFT": "misses TTFT", "memory": "does not fit", "quality": "quality"}


def split(candidate: Candidate) -> str:
    """The degrees that are not 1, as people write them."""
    named = [(name, getattr(candidate, name)) for name in ("tp", "pp", "dp", "ep", "attn_dp")]
    return " ".join(f"{name}{degree}" for name, degree in named if degree > 1) or "tp1"


def pick_lines(answer: PlanAnswer) -> Iterator[str]:
    """The arithmetic of the first rank, and the first that the engine offers as it is."""
    c = answer.candidates[0]
    per_step = f" / {c.tokens_per_step:.2f} tokens" if c.tokens_per_step != 1 else ""
    step = f"{milliseconds(c.step_s)} ms step{per_step} (ideal {milliseconds(c.ideal_step_s)})"
    others = f"{milliseconds(c.others_prefill_s)} ms of others' prefills ({three(c.prefill_s)} s each alone)"
    yield f"pick: TPOT = {step} + {others} = {milliseconds(c.tpot_s.mid)} ms"
    wait = f", {three(c.wait_s)} s of it waiting for a place" if c.wait_s else ""
    answer_s = c.ttft_s.mid - c.wait_s + answer.output_tokens * c.tpot_s.mid
    rate = f"{c.batch:,} in flight x {answer.output_tokens:,.0f} tokens / {three(answer_s)} s an answer"
    yield f"      TTFT {three(c.ttft_s.mid)} s{wait}; {rate} = {three(c.tokens_per_s.mid)} tokens/s"
    if c.usd_per_million_tokens is not None and answer.usd_per_hour is not None:
        hourly = c.tokens_per_s.mid * 3600 / 1e6 * answer.utilization
        paid = f" at {answer.utilization:.0%} of paid hours" if answer.utilization < 1 else ""
        price = three(c.usd_per_million_tokens)
        yield f"      {answer.usd_per_hour:.2f} $/h / {three(hourly)} M tokens/h{paid} = {price} $ per million tokens"
    held = f"{c.max_concurrency.mid:,.0f} ({c.max_concurrency.low:,.0f}-{c.max_concurrency.high:,.0f})"
    yield f"      a replica holds {held} such sequences, {c.kv_tokens.mid:,.0f} tokens of cache"
    offered = next((other for other in answer.candidates if other.offered), None)
    if offered is not None and offered is not c:
        ratio = c.tokens_per_s.mid / offered.tokens_per_s.mid
        what = f"rank {offered.rank}, {offered.scheme}, {offered.weights}, {split(offered)}"
        yield f"best that {answer.engine} offers as it is: {what}; the pick makes {ratio:.2f} x its tokens/s"
    if answer.lossless != c.rank:
        yield from _quality(answer)


def _quality(answer: PlanAnswer) -> Iterator[str]:
    """What has been published of a lossy pick, three figures at most, and the best candidate that loses nothing."""
    c = answer.candidates[0]
    for e in c.quality[:_MOST_FIGURES]:
        yield f"quality: {e.scheme} ({e.setting}): {e.metric} {e.baseline:g} -> {e.value:g}, {e.model} [{e.source}]"
    if not c.quality:
        yield f"quality: no figure is published for {c.scheme} at these settings"
    other = next((row for row in answer.candidates if row.rank == answer.lossless), None)
    if other is None:
        yield "lossless: none among the candidates"
        return
    ratio = c.tokens_per_s.mid / other.tokens_per_s.mid
    what = f"rank {other.rank}, {other.scheme}, {other.weights}, {split(other)}, batch {other.batch:,}"
    yield f"lossless: {what}; the pick makes {ratio:.2f} x its tokens/s"


def loser_lines(answer: PlanAnswer) -> Iterator[str]:
    """Per class of reason: how many lost, and the one that lost by least."""
    for kind, words in _LOSERS.items():
        lost = [row for row in answer.rejected if row.kind == kind]
        if not lost:
            continue
        best = min(lost, key=lambda row: row.ratio or float("inf"))
        where = " ".join(
            part for part in (best.scheme, best.weights, f"tp{best.tp} pp{best.pp} dp{best.dp}") if best.tp
        )
        ratio = f" ({best.ratio:.2f} x its limit)" if best.ratio else ""
        reason = best.reason.removeprefix("does not fit: ")
        yield f"{words}: {len(lost)}, nearest {where or best.scheme}: {reason}{ratio}"
    for reason in dict.fromkeys(row.reason for row in answer.rejected if row.kind in {"architecture", "split"}):
        yield f"cannot be: {reason}"
