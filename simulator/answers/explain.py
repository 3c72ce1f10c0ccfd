"""``kvwall explain``: every term of a step with its equation, the numbers in it, seconds, share and reference."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from kvwall.simulator.answers.attention_io import AttentionIo, attention_io
from kvwall.simulator.answers.base import Part, Range, SetupAnswer, number, setup_fields
from kvwall.simulator.answers.limits import context_warnings, fits_at, room_warnings, sequence_warnings
from kvwall.simulator.answers.step import TermLine, bound_by, step_point
from kvwall.simulator.auto import settle
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, Estimate, estimate, rank_step
from kvwall.simulator.inquiry import Inquiry, Resolved, resolve
from kvwall.simulator.roofline import PricedTerm

_SYMBOL = re.compile(r"[A-Za-z_]+")


class ExplainedTerm(TermLine):
    """A line of the bill with the numbers of one rank put into its equation."""

    substituted: str
    per_rank_amount: float


class CacheBytes(Part):
    """The cache of the whole deployment, as the scheme defines it, as the engine stores it, and at its largest.

    :ivar logical_bytes: what the scheme keeps, one copy, no blocks
    :ivar physical_bytes: in whole blocks, with replicas of KV heads, windows and state pages as the engine keeps them
    :ivar peak_bytes: while a prompt is prefilled, when what will be dropped or packed is still whole
    """

    logical_bytes: float
    physical_bytes: float
    peak_bytes: float
    why: str


class LevelBytes(Part):
    """Traffic between two levels of memory: what is moved against what no implementation avoids."""

    level: str
    moved_bytes: float
    compulsory_bytes: float
    ratio: float


class Fusion(Part):
    """Whether a scheme's work hides inside the attention kernel."""

    operator: str
    fused: bool
    why: str


class ExplainAnswer(SetupAnswer):
    """One step, told in full."""

    phase: Literal["decode", "prefill"]
    calibration: str
    batch: int
    context: int
    step_s: Range
    ideal_step_s: float
    bound_by: str
    fits: bool
    cache: CacheBytes
    levels: tuple[LevelBytes, ...]
    fusion: tuple[Fusion, ...]
    io: AttentionIo
    terms: tuple[ExplainedTerm, ...]


def explain(
    model: str,
    *,
    on: str,
    batch: int = 1,
    context: int = 8192,
    phase: Literal["decode", "prefill"] = "decode",
    **options: Any,
) -> ExplainAnswer:
    """Tell one step in full.

    :param batch: sequences of the whole deployment
    :param context: tokens cached per sequence
    :param options: the other fields of :class:`Inquiry`
    :raises InputError: bad input
    """
    return answer_explain(resolve(Inquiry(model, on, **options), phase), batch, context, phase)


def answer_explain(
    resolved: Resolved, batch: int, context: int, phase: Literal["decode", "prefill"] = "decode"
) -> ExplainAnswer:
    """:func:`explain` of a setup that is resolved already."""
    axes = Axes(np.array([float(batch)]), np.array([float(context)]), phase)
    setup, settled = settle(resolved.setup, axes)
    resolved = replace(resolved, setup=setup, assumptions=(*resolved.assumptions, *settled))
    found = estimate(setup, axes)
    point = step_point(found, (0,), batch, context, bool(np.all(fits_at(setup, axes))))
    terms = tuple(_explained(line, plain) for line, plain in zip(found.lines, point.terms, strict=True))
    io = attention_io(setup, rank_step(setup, axes)[0])
    fields = setup_fields(resolved)
    fields["assumptions"] = (*fields["assumptions"], *found.notes)
    fields["warnings"] = (
        *fields["warnings"],
        *context_warnings(setup, context),
        *sequence_warnings(setup, batch),
        *room_warnings(setup, [] if point.fits else [(batch, context)]),
    )
    return ExplainAnswer(
        **fields,
        phase=phase,
        calibration=setup.calibration_name,
        batch=batch,
        context=context,
        step_s=point.step_s,
        ideal_step_s=point.ideal_step_s,
        bound_by=bound_by(point.terms),
        fits=point.fits,
        cache=_cache(found, batch, context),
        levels=_levels(found),
        fusion=_fusion(found, io),
        io=io,
        terms=tuple(sorted(terms, key=lambda line: -line.charged_s)),
    )


def _explained(line: PricedTerm, plain: TermLine) -> ExplainedTerm:
    symbols = {name: number(np.ravel(value)[0]) for name, value in line.term.symbols.items()}
    text = _SYMBOL.sub(lambda m: _short(symbols[m.group()]) if m.group() in symbols else m.group(), line.term.equation)
    return ExplainedTerm(**plain.model_dump(), substituted=text, per_rank_amount=number(np.ravel(line.term.amount)[0]))


def _short(value: float) -> str:
    """A number as short as it is exact."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.6g}"


def _cache(found: Estimate, batch: int, context: int) -> CacheBytes:
    setup = found.setup
    d = setup.deployment
    per_rank = np.ceil(np.float64(batch) / (d.dp * d.attn_dp))
    each = float(Capacity(setup, context).sequence_bytes(float(context), sequences=per_rank))
    # The fullest stage times all stages overstates an uneven pipeline by less than one layer a stage.
    physical = each * d.attention_tp * d.pp * batch
    prompt = float(Capacity(setup, context).prompt_extra_bytes(float(context))) * d.attention_tp * d.pp
    why = (
        "one prompt is still whole until its last chunk is prefilled"
        if prompt
        else "nothing is dropped after a prefill"
    )
    return CacheBytes(
        logical_bytes=number(np.ravel(found.kv_stored_bytes)[0]),
        physical_bytes=physical,
        peak_bytes=physical + prompt,
        why=why,
    )


def _levels(found: Estimate) -> tuple[LevelBytes, ...]:
    """Bytes per level over all ranks, against the compulsory part."""
    made = []
    for level in ("hbm", "host link in", "host link out", "host dram", "ssd", "scale up", "peer", "scale out"):
        lines = [line for line in found.lines if line.term.resource == level]
        moved = sum(number(np.ravel(line.term.amount * line.ranks)[0]) for line in lines)
        least = sum(number(np.ravel(line.term.amount * line.ranks)[0]) for line in lines if line.term.compulsory)
        if moved:
            ratio = moved / least if least else 0.0
            made.append(LevelBytes(level=level, moved_bytes=moved, compulsory_bytes=least, ratio=ratio))
    return tuple(made)


def _fusion(found: Estimate, io: AttentionIo) -> tuple[Fusion, ...]:
    """What of the schemes runs inside the attention kernel, and what is a kernel of its own."""
    made = []
    for name in dict.fromkeys(line.operator for line in found.lines if "attention" in line.operator):
        work = [line for line in found.lines if line.operator == name and _is_scheme_work(line)]
        if work:
            names = ", ".join(dict.fromkeys(line.term.name for line in work))
            paid = sum(number(np.ravel(line.charged_s)[0]) for line in work)
            how = "binds the kernel" if paid else "hides under its reads"
            why = f"{names}: {how} on {found.setup.system.device.name}"
            unfit = next((kernel for kernel in io.fusion if kernel.operator == name and not kernel.fused), None)
            if unfit:
                why += f", priced as if fused, but {unfit.why}"
            made.append(Fusion(operator=name, fused=unfit is None, why=why))
    schemes = {scheme.name for scheme in found.setup.stack.schemes}
    for owner, name in dict.fromkeys((line.owner, line.operator) for line in found.lines if line.owner in schemes):
        made.append(
            Fusion(operator=name, fused=False, why=f"a kernel of its own: {owner} needs its result before it reads")
        )
    return tuple(made)


def _is_scheme_work(line: PricedTerm) -> bool:
    return line.term.name.startswith(("scale ", "unpack ", "rebuild ", "rotate ", "weigh value"))
