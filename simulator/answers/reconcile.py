"""``kvwall reconcile``: an engine's start-up log against what kvwall predicts, line by line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from kvwall.simulator.answers.base import Part, Range, SetupAnswer, number, setup_fields
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.engine_logs import FACTS, EngineLog, read_engine_log
from kvwall.simulator.inquiry import Inquiry, resolve
from kvwall.simulator.reconciling.from_flags import flags_pass
from kvwall.simulator.reconciling.from_log import log_pass
from kvwall.simulator.reconciling.impossible import impossible_lines, mark
from kvwall.simulator.reconciling.line import Line
from kvwall.simulator.reconciling.told import complete
from kvwall.simulator.reserve import ByteBand
from kvwall.simulator.setup import Setup

_GIB = 2.0**30

#: Facts that are inputs of the predictions, or that no rule of kvwall speaks of.
_INPUTS = frozenset({
    "block_size", "max_model_len", "max_num_seqs", "total_memory_bytes", "utilization", "budget_bytes", "cpu_blocks",
    "free_memory_bytes",
})  # fmt: skip
#: Drafted tokens that are tried when the pages of a hybrid cache do not come out.
_DRAFTS = range(1, 9)


class ReconcileLine(Part):
    """One printed number: ``engine`` is what was printed and ``kvwall`` what is predicted, both in ``unit``.

    ``basis`` says what the prediction started from: ``flags`` alone, other numbers of the ``log``, or ``physics``.
    ``ratio`` is predicted over printed.
    """

    what: str
    basis: Literal["flags", "log", "physics"]
    engine: float
    kvwall: Range | float | None
    unit: str
    ratio: float | None
    verdict: Literal["agrees", "within band", "differs", "impossible", "not predicted"]
    why: str
    printed: str
    log_line: int


class ReconcileAnswer(SetupAnswer):
    """A start-up log, line by line."""

    log: str
    engine_version: str | None
    engine_profile: str
    refused: bool
    starts: int
    lines: tuple[ReconcileLine, ...]
    verdicts: dict[str, int]


def reconcile(log: str | Path | EngineLog, model: str = "", *, on: str = "", **options: Any) -> ReconcileAnswer:
    """Hold the start-up log of an engine against kvwall.

    :param log: the path of a log of vLLM, SGLang, TensorRT-LLM or llama.cpp, or one that was read already
    :param model: name, Hugging Face id or path; the log's own model unless given
    :param on: ``DEVICE[:N]``; told by the log's total memory unless given
    :param options: the other fields of :class:`Inquiry`; what the log states fills those that are left out
    :raises InputError: no readable log, or neither the log nor the options say which model or which device
    """
    read = log if isinstance(log, EngineLog) else read_engine_log(Path(log))
    return answer_reconcile(read, Inquiry(model, on, **options))


def answer_reconcile(log: EngineLog, inquiry: Inquiry) -> ReconcileAnswer:
    """:func:`reconcile` of a log that is read already."""
    told = complete(log, inquiry)
    resolved = resolve(told.inquiry)
    capacity = Capacity(resolved.setup, resolved.setup.longest_tokens)
    lines = _with_draft_hint(log, told.inquiry, capacity, _lines(log, capacity))
    verdicts = {
        verdict: sum(line.verdict == verdict for line in lines) for verdict in sorted({x.verdict for x in lines})
    }
    fields = setup_fields(resolved)
    fields["assumptions"] = (*told.notes, *fields["assumptions"])
    fields["warnings"] = (*fields["warnings"], *_warnings(log, lines))
    return ReconcileAnswer(
        **fields,
        log=log.where,
        engine_version=told.inquiry.engine_version,
        engine_profile=resolved.setup.engine.name,
        refused=log.refused,
        starts=log.starts,
        lines=tuple(map(_shown, lines)),
        verdicts=verdicts,
    )


def _lines(log: EngineLog, capacity: Capacity) -> list[Line]:
    """Both passes, then what cannot be true, then what nothing is known of."""
    given = Capacity(_given(capacity, log), capacity.context)
    lines = [*flags_pass(log, capacity), *log_pass(log, given)]
    lines = mark(lines, list(impossible_lines(log, capacity)))
    spoken = {line.log_line for line in lines}
    for name, reading in log.readings.items():
        fact = reading.lowest
        if name in _INPUTS or fact.line in spoken:
            continue
        is_bytes = name.endswith("_bytes")
        lines.append(
            Line(
                FACTS[name],
                "flags",
                fact.value / (_GIB if is_bytes else 1.0),
                None,
                "GiB" if is_bytes else "count",
                "not predicted",
                "no rule of kvwall gives this number",
                str(fact),
                fact.line,
            )
        )
    return lines


def _with_draft_hint(log: EngineLog, inquiry: Inquiry, capacity: Capacity, lines: list[Line]) -> list[Line]:
    """``lines`` with the draft that explains pages which do not come out: speculation takes pages of its own."""
    wrong = {line.what for line in lines if line.basis == "log" and line.verdict == "differs"}
    if capacity.layout is None or inquiry.speculative is not None or not wrong:
        return lines
    for drafted in _DRAFTS:
        text = f"mtp:{drafted}"
        setup = resolve(replace(inquiry, speculative=text)).setup
        other = Capacity(_given(Capacity(setup, capacity.context), log), capacity.context)
        if all(line.verdict == "agrees" for line in log_pass(log, other) if line.what in wrong):
            hint = f"agrees with --speculative {text}: a draft's layer, and a page of state for each drafted token"
            return [replace(x, why=hint) if x.basis == "log" and x.what in wrong else x for x in lines]
    return lines


def _given(capacity: Capacity, log: EngineLog) -> Setup:
    """The setup whose pool the log states, so that states held apart are not taken from it again."""
    pool = log.lowest("kv_bytes")
    if pool is None or pool <= 0:
        return capacity.setup
    overrides = replace(capacity.setup.overrides, kv_bytes=pool)
    return replace(capacity.setup, overrides=overrides)


def _warnings(log: EngineLog, lines: list[Line]) -> tuple[str, ...]:
    warnings = []
    if log.refused:
        warnings.append("the engine says in this log that it cannot start")
    if log.starts > 1:
        warnings.append(f"{log.starts} starts in one log: the last complete one is read")
    for line in lines:
        if line.verdict == "impossible":
            warnings.append(f"line {line.log_line}: {line.what} {line.printed} cannot be true: {line.why}")
    if not lines:
        warnings.append("the log states no number that kvwall predicts")
    return tuple(dict.fromkeys(warnings))


def _shown(line: Line) -> ReconcileLine:
    told = line.kvwall
    band = Range(low=told.low, mid=told.mid, high=told.high) if isinstance(told, ByteBand) else told
    return ReconcileLine(
        what=line.what,
        basis=line.basis,
        engine=number(line.engine),
        kvwall=band,
        unit=line.unit,
        ratio=None if line.ratio is None else number(line.ratio),
        verdict=line.verdict,
        why=line.why,
        printed=line.printed,
        log_line=line.log_line,
    )
