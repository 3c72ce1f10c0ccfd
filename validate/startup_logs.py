"""The quoted start-up logs, reconciled: how many of their lines follow from what else they state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import yaml

from kvwall.hardware.document import Document
from kvwall.simulator.answers.base import Part, Range
from kvwall.simulator.answers.reconcile import ReconcileAnswer, reconcile
from kvwall.validate.log_rows import LOGS
from kvwall.validate.pools import PoolCheck

_ANY_DEVICE = "b200-sxm-180gb"
#: Weight formats of the index that a library calls otherwise.
_WEIGHTS = {"bitsandbytes 4-bit": "nf4", "int8 (SmoothQuant)": "int8", "bf16 (dummy values)": "bf16"}
_SIXTEEN_BITS = frozenset({"auto", "f16", "bfloat16"})


class IndexedLog(Document):
    """One entry of the index: the file, what ran on what, where it stands, and what it prints."""

    file: str
    engine: Literal["vllm", "sglang", "trtllm", "llamacpp"]
    version: str | None
    model: str | None
    served: str | None
    weights: str | None
    device: str | None
    card: str | None
    gpus: int | None
    tp: int | None
    pp: int | None
    flags: dict[str, Any]
    source: str
    note: str | None = None
    states: dict[str, str]
    refused: bool
    as_transcribed: bool = False


class LogCheck(Part):
    """One log: lines that follow from other lines of it, and the worst of them.

    :ivar rules: lines that the log's own numbers determine
    :ivar agree: of them, inside the printed digits and one block
    :ivar within_two_percent: of them, within 2 %
    :ivar impossible: lines that cannot be true
    :ivar why: the cause of the first line that does not agree
    """

    file: str
    engine: str
    model: str | None
    rules: int
    agree: int
    within_two_percent: int
    worst_error: float | None
    impossible: int
    why: str


def indexed_logs() -> tuple[IndexedLog, ...]:
    """The entries of the index of quoted logs."""
    text = (LOGS / "startup" / "index.yaml").read_text(encoding="utf-8")
    return tuple(IndexedLog(**entry) for entry in yaml.safe_load(text)["logs"])


def reconciled(entry: IndexedLog) -> ReconcileAnswer | None:
    """The log against kvwall, with what its thread adds; ``None`` where no model of the library has its shape."""
    if entry.model is None:
        return None
    tp, pp, flags = entry.tp or 1, entry.pp or 1, entry.flags
    cache = flags.get("kv_dtype", "auto")
    return reconcile(
        LOGS / "startup" / entry.file,
        entry.model,
        on=f"{entry.device or _ANY_DEVICE}:{tp * pp}",
        tp=tp,
        pp=pp,
        weights=_WEIGHTS.get(entry.weights or "", entry.weights),
        kv_dtype=None if cache in _SIXTEEN_BITS else cache,
        max_model_len=flags.get("max_model_len"),
        max_batched_tokens=flags.get("max_num_batched_tokens"),
        max_num_seqs=flags.get("max_num_seqs"),
        memory_utilization=flags.get("memory_utilization", flags.get("static_fraction", flags.get("kv_fraction"))),
    )


def log_checks() -> tuple[LogCheck, ...]:
    """Every quoted log."""
    return tuple(_check(entry) for entry in indexed_logs())


def log_pools(known_sources: frozenset[str] = frozenset()) -> tuple[PoolCheck, ...]:
    """Quoted logs on a known device that print a pool or its tokens, from flags alone; sources of rows are left out."""
    entries = [e for e in indexed_logs() if e.device is not None and e.source not in known_sources]
    return tuple(check for entry in entries for check in _pool(entry, reconciled(entry)))


def _pool(entry: IndexedLog, answer: ReconcileAnswer | None) -> Iterator[PoolCheck]:
    lines = {line.what: line for line in answer.lines if line.basis == "flags"} if answer else {}
    line = lines.get("KV pool") or lines.get("tokens")
    if answer is None or line is None or not isinstance(line.kvwall, Range):
        return
    yield PoolCheck(
        id=entry.file.removesuffix(".log"),
        engine=f"{answer.engine} {answer.engine_version or ''}".strip(),
        model=answer.model,
        device=answer.device,
        tp=answer.tp,
        unit=line.unit,
        printed=line.engine,
        predicted=line.kvwall,
        error=line.kvwall.mid / line.engine - 1 if line.engine > 0 else None,
        inside=line.verdict != "differs",
        source=entry.source,
    )


def _check(entry: IndexedLog) -> LogCheck:
    answer = reconciled(entry)
    lines = [line for line in answer.lines if line.basis == "log"] if answer else []
    errors = [abs(line.ratio - 1) for line in lines if line.ratio is not None]
    wrong = [line for line in lines if line.verdict != "agrees"]
    if answer is None:
        why = "no model of the library has this shape, or the log does not name it"
    elif wrong:
        why = wrong[0].why
    else:
        why = "" if lines else "no line of it follows from the others"
    return LogCheck(
        file=entry.file,
        engine=entry.engine,
        model=entry.model,
        rules=len(lines),
        agree=sum(line.verdict == "agrees" for line in lines),
        within_two_percent=sum(line.verdict == "agrees" or abs((line.ratio or 0) - 1) <= 0.02 for line in lines),
        worst_error=max(errors) if errors else None,
        impossible=sum(line.verdict == "impossible" for line in answer.lines) if answer else 0,
        why=why,
    )
