"""Which deployment serves the workload best, and what each costs against how fast it answers and what it loses."""

from __future__ import annotations

from functools import lru_cache

from kvwall.simulator.answers.plan import PlanAnswer, plan
from kvwall.simulator.figures.pareto import pareto, quality
from kvwall.simulator.figures.ranking import ranking
from kvwall.simulator.page.controls import Controls
from kvwall.simulator.page.views.base import View


def plan_view(controls: Controls) -> View:
    """The best deployments, side by side."""
    answer = _planned(controls)
    if not answer.candidates:
        return _none(answer, controls)
    best = answer.candidates[0]
    cost = "" if best.usd_per_million_tokens is None else f", {best.usd_per_million_tokens:.3g} USD per million tokens"
    says = (
        f"Best for {answer.objective}: {best.scheme}, {best.weights} weights, tp{best.tp} pp{best.pp} dp{best.dp}, "
        f"batch {best.batch:,}: {best.tpot_s.mid * 1e3:.1f} ms a token, the first after {best.ttft_s.mid:.2f} s{cost}."
    )
    return View(says, (ranking(answer),), controls.command("plan"))


def pareto_view(controls: Controls) -> View:
    """Cost against latency of every deployment, and against the published loss of its scheme."""
    answer = _planned(controls)
    if not answer.candidates:
        return _none(answer, controls)
    front = sum(1 for row in answer.candidates if row.pareto)
    says = f"{front} of {answer.candidate_count:,} deployments are on the front: nothing is better in all that counts."
    return View(says, (pareto(answer), quality(answer)), controls.command("plan"))


def _none(answer: PlanAnswer, controls: Controls) -> View:
    return View(answer.says_no or answer.reason, (), controls.command("plan"))


@lru_cache(maxsize=32)
def _planned(controls: Controls) -> PlanAnswer:
    return plan(
        controls.model,
        on=controls.on,
        input=controls.tokens("input"),
        output=controls.tokens("output"),
        users=controls.tokens("users"),
        ttft_ms=float(controls.ttft_ms) if controls.ttft_ms else None,
        tpot_ms=float(controls.tpot_ms) if controls.tpot_ms else None,
        schemes=controls.schemes,
        weights=controls.weights or None,
        engine=controls.engine,
        set=controls.inquiry("none").set,
        price_usd_per_gpu_hour=controls.dollars,
        top=None,
    )
