"""``kvwall plan``: which split, weight format, scheme and batch serve a workload best on one machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.base import Answer
from kvwall.simulator.answers.plan_rows import SERVED_TOO_SLOWLY, Candidate, RejectedRow, candidate_of, rejected_row
from kvwall.simulator.planning.asking import Asked, ask
from kvwall.simulator.planning.load import counted
from kvwall.simulator.planning.make import Plan, Progress, make_plan
from kvwall.simulator.planning.quality_limit import lossy
from kvwall.simulator.planning.service import FRONT_END_TOKENS_PER_S

#: Candidates listed unless the asker says otherwise; those of the Pareto front are always listed.
TOP = 10


class PlanAnswer(Answer):
    """Candidates, best first, and what was rejected.

    :ivar candidates: the first ranks, and every candidate of the Pareto front (tokens per second up, TPOT down, TTFT
        down)
    :ivar candidate_count: candidates in all
    :ivar lossless: rank of the best candidate whose cache scheme changes nothing that a model reads; always listed
    :ivar remedies: changes that would give a plan, each alone, where there is none
    """

    model: str
    device: str
    device_name: str
    gpus: int
    engine: str
    scenario: str | None
    objective: str
    load: str
    ttft_target_s: float | None
    tpot_target_s: float | None
    usd_per_hour: float | None
    utilization: float
    output_tokens: float
    combination_count: int
    candidate_count: int
    lossless: int | None
    candidates: tuple[Candidate, ...]
    rejected: tuple[RejectedRow, ...]
    reason: str
    remedies: tuple[str, ...]

    @property
    def says_no(self) -> str | None:
        """Why there is no plan, and the smallest change that gives one."""
        if self.candidates:
            return None
        change = " or ".join(self.remedies)
        return f"{self.reason}; the smallest change that gives a plan: {change}" if change else self.reason


def plan(
    model: str | None = None,
    *,
    on: str | None = None,
    input: int | None = None,
    output: int | None = None,
    users: int | None = None,
    ttft_ms: float | None = None,
    tpot_ms: float | None = None,
    max_quality_loss: Mapping[str, float] | str | None = None,
    objective: str | None = None,
    schemes: str | Sequence[str] | None = None,
    weights: str | Sequence[str] | None = None,
    batch: Sequence[int] | None = None,
    budget_usd_per_hour: float | None = None,
    top: int | None = TOP,
    progress: Progress | None = None,
    **options: Any,
) -> PlanAnswer:
    """Choose split, weight format, scheme and batch.

    :param model: a model (with ``on``), a scenario, or the path of either; by default the scenario ``default``
    :param on: ``DEVICE[:N]``; all N devices are used
    :param input: prompt tokens of a request; in place of a scenario's lengths
    :param output: generated tokens of a request
    :param users: concurrent users, one request in flight each; as many as can be served when left out
    :param ttft_ms: largest mean time to first token
    :param tpot_ms: largest mean time per output token
    :param max_quality_loss: largest published loss by metric, as ``{"LongBench": 1}`` or ``"LongBench=1"``
    :param objective: ``cost``, ``throughput`` or ``latency``
    :param schemes: stacks to try, as ``"none;fp8"`` or a list
    :param weights: weight formats to try, as ``"bf16,fp8"`` or a list
    :param batch: sequences of the whole deployment to try
    :param budget_usd_per_hour: largest rent
    :param top: candidates to list beside those of the front; ``None`` for all
    :param progress: called with the combinations done and their number
    :param options: other fields of :class:`Inquiry`; ``tp`` and ``pp`` fix a degree
    :raises InputError: anything unknown, impossible or contradictory
    """
    if top is not None and top < 1:
        raise InputError(f"--top {top}: must be a whole number from 1")
    asked = Asked(
        model,
        on,
        input,
        output,
        users,
        ttft_ms,
        tpot_ms,
        max_quality_loss,
        objective,
        schemes if schemes is None or isinstance(schemes, str) else tuple(schemes),
        weights if weights is None or isinstance(weights, str) else tuple(weights),
        None if batch is None else tuple(batch),
        budget_usd_per_hour,
        options,
    )
    return answer_plan(make_plan(ask(asked), progress), top)


def answer_plan(made: Plan, top: int | None = TOP) -> PlanAnswer:
    """The answer of a plan that is made."""
    setup, question = made.resolved.setup, made.question
    lossless = next((chosen.rank for chosen in made.chosen if not lossy(chosen.priced.combination.setup.stack)), None)
    last = len(made.chosen) if top is None else top
    listed = [chosen for chosen in made.chosen if chosen.rank <= last or chosen.pareto or chosen.rank == lossless]
    ranks = {chosen.rank for chosen in listed}
    candidates = tuple(candidate_of(chosen, question, ranks) for chosen in listed)
    targets = question.targets
    return PlanAnswer(
        assumptions=_assumptions(made),
        warnings=_warnings(made, candidates),
        model=setup.model_name,
        device=setup.system.device_id,
        device_name=setup.system.device.name,
        gpus=setup.system.count,
        engine=setup.engine.engine,
        scenario=question.scenario,
        objective=question.objective,
        load=question.load.text,
        ttft_target_s=targets.ttft_s,
        tpot_target_s=targets.tpot_s,
        usd_per_hour=setup.usd_per_hour,
        utilization=setup.paid_utilization,
        output_tokens=question.load.output_tokens,
        combination_count=_tried(made),
        candidate_count=len(made.chosen),
        lossless=lossless,
        candidates=candidates,
        rejected=tuple(rejected_row(item) for item in made.rejected),
        reason=_reason(made),
        remedies=made.remedies,
    )


def _missed(made: Plan) -> int:
    """Rows that fit but miss a target: they stand among the rejected too."""
    return sum(item.kind in SERVED_TOO_SLOWLY for item in made.rejected)


def _tried(made: Plan) -> int:
    return len(made.rows) + len(made.rejected) - _missed(made)


def _reason(made: Plan) -> str:
    """One line: how many combinations answer, or why none does."""
    question, setup = made.question, made.resolved.setup
    if made.chosen:
        kept, tried = len(made.rows) - _missed(made), counted(_tried(made), "combination")
        some = "s" if kept == 1 else ""
        timed = question.targets.ttft_s is not None or question.targets.tpot_s is not None
        return f"{kept:,} of {tried} {f'keep{some} the targets' if timed else f'fit{some}'}"
    machine = f"{setup.system.count} x {setup.system.device_id}"
    budget, hourly = question.targets.budget_usd_per_hour, setup.usd_per_hour
    if budget is not None and hourly is not None and hourly > budget:
        return f"{machine} cost {hourly:.2f} > {budget:.2f} USD per hour"
    if made.rows:
        near = min(
            (item for item in made.rejected if item.kind in SERVED_TOO_SLOWLY), key=lambda item: item.ratio or 0.0
        )
        split = near.deployment.text if near.deployment else "any split"
        return f"nothing meets the targets; nearest is {near.scheme}, {near.weights}, {split}: {near.reason}"
    if not made.rejected:
        return f"nothing can be tried on {machine}"
    last = min(made.rejected, key=lambda item: (item.kind != "memory", item.ratio or float("inf")))
    return f"nothing serves {setup.model_name} on {machine}; {last.scheme}, {last.weights}: {last.reason}"


def _assumptions(made: Plan) -> tuple[str, ...]:
    setup, question = made.resolved.setup, made.question
    # The split and the weight format of the inquiry are what a plan chooses.
    kept = [
        text.partition(", split ")[0]
        for text in made.resolved.assumptions
        if not text.startswith("weights as published")
    ]
    q = setup.engine.serving.queue(setup.expert_layers > 0)
    load = question.load
    return (
        *kept,
        *question.notes,
        f"decode priced at {load.decode_context_tokens:,.0f} cached tokens, memory held for "
        f"{load.complete_context_tokens:,} a sequence",
        f"TPOT = step + {q.after:g} x others' prefills / output tokens; TTFT = {q.own:g} D + {q.others:g} N D + "
        f"{q.steps:g} steps + wait, 80 % band x/÷ {q.ttft_spread:g}: it depends on how requests arrive",
        "targets are held against the middle of each band; candidates within 5 % of each other are tied",
        "Pareto axes: tokens per second up, TPOT down, TTFT down",
        *(
            (f"a prefix of {load.prefix_tokens:,} tokens is stored once and prefilled once",)
            if load.prefix_tokens
            else ()
        ),
    )


def _warnings(made: Plan, candidates: tuple[Candidate, ...]) -> tuple[str, ...]:
    setup, question = made.resolved.setup, made.question
    longest = question.load.peak_context_tokens
    found = list(made.resolved.warnings)
    if longest > setup.model.max_context:
        found.append(f"requests of {longest:,} tokens exceed the {setup.model.max_context:,} of {setup.model.name}")
    if question.targets.quality_loss:
        found.append("--max-quality-loss judges cache schemes only, by figures of the models in the cited papers")
    if candidates and candidates[0].tokens_per_s.mid / candidates[0].dp > FRONT_END_TOKENS_PER_S:
        found.append(f"above {FRONT_END_TOKENS_PER_S:,.0f} tokens/s a front-end process may bind before the GPUs do")
    if candidates and candidates[0].wait_s > 0:
        found.append("the batch holds fewer sequences than there are users: some wait for a place")
    return tuple(found)
