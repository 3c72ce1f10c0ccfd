"""``kvwall step``: how long one step takes, what it moves, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers import limits
from kvwall.simulator.answers.base import Part, Range, SetupAnswer, number, setup_fields
from kvwall.simulator.auto import settle
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, Estimate, Phase, estimate
from kvwall.simulator.inquiry import Inquiry, Resolved, resolve
from kvwall.simulator.ragged import Ragged, ragged_axes
from kvwall.simulator.roofline import PricedTerm
from kvwall.simulator.traffic import UNITS

_GIB = 2.0**30


class TermLine(Part):
    """One line of the bill of a step; bytes and FLOP are of the whole deployment, seconds of the step."""

    owner: str
    operator: str
    name: str
    resource: str
    amount: float
    unit: str
    alone_s: float
    charged_s: float
    share: float
    equation: str
    reference: str


class StepPoint(Part):
    """One step at one batch and context."""

    batch: int
    context: int
    query_tokens: int
    step_s: Range
    ideal_step_s: float
    tokens_per_s: Range
    bound_by: str
    fits: bool
    weights_read_bytes: float
    kv_stored_bytes: float
    kv_read_bytes: float
    kv_written_bytes: float
    host_link_bytes: float
    usd_per_million_tokens: float | None
    usd_per_million_input_tokens: float | None
    joules_per_token: float
    terms: tuple[TermLine, ...] = ()


class StepAnswer(SetupAnswer):
    """Steps over all combinations of batch and context."""

    phase: Literal["decode", "prefill"]
    calibration: str
    points: tuple[StepPoint, ...]


def step(
    model: str,
    *,
    on: str,
    batch: Sequence[int] = (1,),
    context: Sequence[int] = (8192,),
    phase: Literal["decode", "prefill"] = "decode",
    query_tokens: int | None = None,
    terms: bool = True,
    **options: Any,
) -> StepAnswer:
    """Price one step for every combination of batch and context.

    :param model: name, Hugging Face id or path
    :param on: ``DEVICE[:N]``
    :param batch: sequences of the whole deployment
    :param context: tokens cached per sequence
    :param phase: a decode step, or the prefill of the whole context
    :param query_tokens: new tokens per sequence
    :param terms: carry the bill of each point
    :param options: the other fields of :class:`Inquiry`
    :raises InputError: bad input
    """
    resolved = resolve(Inquiry(model, on, **options), phase)
    return answer_step(resolved, batch, context, phase, query_tokens, terms)


def answer_step(
    resolved: Resolved,
    batch: Sequence[int],
    context: Sequence[int],
    phase: Literal["decode", "prefill"] = "decode",
    query_tokens: int | None = None,
    terms: bool = True,
) -> StepAnswer:
    """:func:`step` of a setup that is resolved already."""
    setup = resolved.setup
    limits.check_points(len(batch) * len(context))
    if query_tokens is not None and phase == "prefill" and query_tokens > min(context):
        raise InputError(f"--query-tokens {query_tokens}: exceeds the context {min(context)} that includes them")
    axes = Axes(
        np.asarray(batch, dtype=np.float64)[:, None],
        np.asarray(context, dtype=np.float64)[None, :],
        phase,
        None if query_tokens is None else np.float64(query_tokens),
    )
    setup, settled = settle(setup, axes)
    resolved = replace(resolved, setup=setup)
    found = estimate(setup, axes, keep_lines=True)
    shape = (len(batch), len(context))
    fits = np.broadcast_to(limits.fits_at(setup, axes), shape)
    points = tuple(
        step_point(found, (i, j), batch[i], context[j], bool(fits[i, j]), terms)
        for i in range(shape[0])
        for j in range(shape[1])
    )
    warnings = (
        *limits.calibration_warnings(setup, found.lines),
        *limits.context_warnings(setup, max(context)),
        *limits.sequence_warnings(setup, max(batch)),
        *limits.room_warnings(setup, [(point.batch, point.context) for point in points if not point.fits]),
    )
    return _step_answer(resolved, phase, points, (*settled, *found.notes), warnings)


def answer_ragged(
    resolved: Resolved, ragged: Ragged, query_tokens: int | None = None, terms: bool = True
) -> StepAnswer:
    """One decode step of a batch of unequal sequences; the point's ``context`` is their mean, rounded.

    :param ragged: pairs of context and number of sequences, of the whole deployment
    :raises InputError: no sequence at all
    """
    count, contexts, parts = ragged_axes(ragged)
    query = None if query_tokens is None else np.float64(query_tokens)
    axes = Axes(np.float64(count), contexts, query_tokens=query, parts=parts)
    setup = resolved.setup
    found = estimate(setup, axes)
    mean = round(float(np.sum(contexts * parts)))
    room = Capacity(setup, 1)
    sequences = count / (setup.deployment.dp * setup.deployment.attn_dp)
    per_rank = sequences * float(np.sum(parts * room.sequence_bytes(contexts, sequences=sequences)))
    fits = room.pool.mid > 0 and per_rank <= room.kv.mid
    point = step_point(
        replace(found, axes=Axes(np.array([float(count)]), np.float64(mean), query_tokens=query)),
        (0,),
        count,
        mean,
        fits,
        terms,
    )
    note = f"a ragged batch of {len(ragged)} lengths: every amount is the mean over its sequences"
    warnings = (*limits.context_warnings(setup, int(contexts.max())), *limits.sequence_warnings(setup, count))
    if not fits:
        need, pool = per_rank / _GIB, room.kv.mid / _GIB
        warnings = (*warnings, f"does not fit: the batch needs {need:,.2f} GiB per GPU, the pool has {pool:,.2f} GiB")
    return _step_answer(resolved, "decode", (point,), (note, *found.notes), warnings)


def _step_answer(
    resolved: Resolved, phase: Phase, points: tuple[StepPoint, ...], notes: tuple[str, ...], warnings: tuple[str, ...]
) -> StepAnswer:
    fields = setup_fields(resolved)
    fields["assumptions"] = (*fields["assumptions"], *limits.copy_notes(resolved.setup), *notes)
    fields["warnings"] = (*fields["warnings"], *warnings)
    return StepAnswer(**fields, phase=phase, calibration=resolved.setup.calibration_name, points=points)


def step_point(
    found: Estimate, cell: tuple[int, ...], batch: int, context: int, fits: bool, terms: bool = True
) -> StepPoint:
    """The point of ``found`` at position ``cell`` of its broadcast axes."""

    def at(value: Any) -> float:
        array = np.asarray(value)
        own = cell[len(cell) - array.ndim :]  # axes are aligned at the right, and an axis of length 1 is stretched
        return number(array[tuple(i if n > 1 else 0 for i, n in zip(own, array.shape, strict=True))])

    def band_at(value: Any) -> Range:
        return Range(low=at(value.low), mid=at(value.mid), high=at(value.high))

    lines = [term_line(line, at, at(found.step_s.mid)) for line in found.lines]
    prefill = found.axes.phase == "prefill"
    query = context if prefill else 1
    if found.axes.query_tokens is not None:
        query = int(at(found.axes.query_tokens))
    dollars = found.usd_per_million_tokens
    usd = None if dollars is None else at(dollars)
    return StepPoint(
        batch=batch,
        context=context,
        query_tokens=query,
        step_s=band_at(found.step_s),
        ideal_step_s=at(found.ideal_s),
        tokens_per_s=band_at(found.tokens_per_s),
        bound_by=bound_by(lines),
        fits=fits,
        weights_read_bytes=at(found.weights_read_bytes),
        kv_stored_bytes=at(found.kv_stored_bytes),
        kv_read_bytes=at(found.kv_read_bytes),
        kv_written_bytes=at(found.kv_written_bytes),
        host_link_bytes=at(found.host_link_bytes),
        usd_per_million_tokens=usd,
        usd_per_million_input_tokens=usd / query if prefill and usd is not None else None,
        joules_per_token=at(found.joules) / at(found.tokens),
        terms=tuple(lines) if terms else (),
    )


def term_line(line: PricedTerm, at: Any, step_s: float) -> TermLine:
    """One line of the bill at one point."""
    ranks = 1.0 if UNITS[line.term.resource] in {"s", "messages"} else at(line.ranks)
    charged = at(line.charged_s)
    return TermLine(
        owner=line.owner,
        operator=line.operator,
        name=line.term.name,
        resource=line.term.resource,
        amount=at(line.term.amount) * ranks,
        unit=UNITS[line.term.resource],
        alone_s=at(line.alone_s),
        charged_s=charged,
        share=charged / step_s if step_s else 0.0,
        equation=line.term.equation,
        reference=line.term.reference,
    )


def bound_by(lines: Sequence[TermLine]) -> str:
    """The resource that is charged most of the step."""
    charged: dict[str, float] = {}
    for line in lines:
        charged[line.resource] = charged.get(line.resource, 0.0) + line.charged_s
    return max(charged, key=lambda resource: charged[resource]) if charged else "nothing"
