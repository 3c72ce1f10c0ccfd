"""``kvwall compare``: the same step under several schemes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from kvwall.hardware.errors import ForbiddenError, InputError
from kvwall.simulator.answers.base import Part, Range, SetupAnswer, band, setup_fields
from kvwall.simulator.answers.limits import (
    attention_basis,
    calibration_warnings,
    check_points,
    context_warnings,
    copy_notes,
    room_warnings,
    sequence_warnings,
)
from kvwall.simulator.answers.step import StepPoint, step_point
from kvwall.simulator.auto import settle
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, estimate
from kvwall.simulator.inquiry import Inquiry, Resolved, resolve
from kvwall.simulator.quality import Evidence, evidence_for
from kvwall.simulator.roofline import Basis
from kvwall.simulator.setup import Setup
from kvwall.simulator.stack import parse_stack, scheme_names


class CompareRow(StepPoint):
    """A step under one scheme.

    :ivar ratio_to_first: time of the first scheme's step over this one's, so that above 1 is faster
    :ivar attention_from: what the time of attention is known from
    :ivar unmeasured: what of the stack nobody published together
    """

    scheme: str
    ratio_to_first: float
    kv_tokens: Range
    max_concurrency: Range
    quality: tuple[Evidence, ...]
    attention_from: Basis
    unmeasured: str | None = None
    refused: None = None


class RefusedRow(Part):
    """A scheme that the architecture forbids."""

    scheme: str
    refused: str


class CompareAnswer(SetupAnswer):
    """Rows in the order in which the schemes were given, points in the order of batch and context."""

    phase: Literal["decode", "prefill"]
    calibration: str
    rows: tuple[CompareRow | RefusedRow, ...]


def compare(
    model: str,
    *,
    on: str,
    schemes: Sequence[str],
    batch: Sequence[int] = (1,),
    context: Sequence[int] = (8192,),
    phase: Literal["decode", "prefill"] = "decode",
    terms: bool = False,
    **options: Any,
) -> CompareAnswer:
    """Price the same steps under each of ``schemes``.

    :param schemes: stacks, e.g. ``["none", "fp8", "kivi:bits=2"]``; ``["all"]`` is every scheme at its defaults
    :param options: the other fields of :class:`Inquiry`
    :raises InputError: bad input; a scheme that the architecture forbids is a row that says so
    """
    return answer_compare(resolve(Inquiry(model, on, **options), phase), schemes, batch, context, phase, terms)


def answer_compare(
    resolved: Resolved,
    schemes: Sequence[str],
    batch: Sequence[int],
    context: Sequence[int],
    phase: Literal["decode", "prefill"] = "decode",
    terms: bool = False,
) -> CompareAnswer:
    """:func:`compare` of a setup that is resolved already."""
    if not schemes:
        raise InputError("--schemes: is empty; write for example 'none;fp8;kivi:bits=2'")
    if [text.strip().lower() for text in schemes] == ["all"]:
        schemes = ("none", *(name for name in scheme_names() if name != "none"))
    check_points(len(schemes) * len(batch) * len(context))
    setup = resolved.setup
    first: dict[tuple[int, int], float] = {}
    rows: list[CompareRow | RefusedRow] = []
    notes: list[str] = []
    warnings = [*context_warnings(resolved.setup, max(context)), *sequence_warnings(resolved.setup, max(batch))]
    for text in schemes:
        stack = parse_stack(text)
        try:
            stack.check(setup.architecture)
        except ForbiddenError as refusal:
            rows.append(RefusedRow(scheme=stack.text, refused=str(refusal)))
            continue
        made, assumed, warned = _rows(replace(setup, stack=stack), batch, context, phase, first, terms)
        rows += made
        warnings += [warning for warning in warned if warning not in warnings]
        refused = [(row.batch, row.context) for row in made if not row.fits]
        warnings += room_warnings(replace(setup, stack=parse_stack(made[0].scheme)), refused, made[0].scheme)
        notes += assumed
    fields = setup_fields(resolved)
    fields["scheme"] = ";".join(schemes)
    fields["assumptions"] = (*fields["assumptions"], *copy_notes(setup), *dict.fromkeys(notes))
    fields["warnings"] = (*fields["warnings"], *warnings)
    return CompareAnswer(**fields, phase=phase, calibration=setup.calibration_name, rows=tuple(rows))


def _rows(
    setup: Setup,
    batch: Sequence[int],
    context: Sequence[int],
    phase: Literal["decode", "prefill"],
    first: dict[tuple[int, int], float],
    terms: bool,
) -> tuple[list[CompareRow], tuple[str, ...], tuple[str, ...]]:
    """The rows of one scheme, its notes and its warnings; ``first`` remembers the first scheme's seconds at a point."""
    axes = Axes(np.asarray(batch, dtype=np.float64)[:, None], np.asarray(context, dtype=np.float64)[None, :], phase)
    setup, settled = settle(setup, axes)
    found = estimate(setup, axes)
    quality, attention_from = evidence_for(setup.stack), attention_basis(found.lines)
    rows = []
    for i, sequences in enumerate(batch):
        for j, tokens in enumerate(context):
            capacity = Capacity(setup, tokens)
            fits = bool(capacity.fits(float(sequences), float(tokens)))
            point = step_point(found, (i, j), sequences, tokens, fits, terms)
            base = first.setdefault((sequences, tokens), point.step_s.mid)
            extra = {
                "scheme": setup.stack.text,
                "ratio_to_first": base / point.step_s.mid,
                "kv_tokens": band(capacity.kv_tokens),
                "max_concurrency": band(capacity.max_concurrency),
                "quality": quality,
                "attention_from": attention_from,
                "unmeasured": setup.stack.unmeasured,
            }
            rows.append(CompareRow(**dict(point), **extra))
    return rows, (*settled, *found.notes), calibration_warnings(setup, found.lines)
