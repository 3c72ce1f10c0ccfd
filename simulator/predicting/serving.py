"""Serving tables: TPOT and TTFT of a closed loop at the stated concurrency, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from kvwall.hardware.errors import KvwallError
from kvwall.simulator.inquiry import Inquiry, native_weights, resolve
from kvwall.simulator.planning.combinations import Combination
from kvwall.simulator.planning.load import Load
from kvwall.simulator.planning.pricing import Priced, priced
from kvwall.simulator.planning.question import Freedom, Question, Targets
from kvwall.simulator.planning.service import FRONT_END_TOKENS_PER_S, TTFT_SPREAD
from kvwall.simulator.predicting.defaults import CLASS_DEFAULTS
from kvwall.simulator.predicting.names import device_of, dtype_of
from kvwall.simulator.predicting.table import Table, codes
from kvwall.simulator.setup import Setup
from kvwall.simulator.traffic import Array
from kvwall.workloads.model_lookup import find_model
from kvwall.workloads.model_spec import ModelSpec

Progress = Callable[[int, int], None]

#: Metrics that are predicted, with the field of the service and its factor.
METRICS = {"tpot_ms": "tpot_s", "ttft_ms": "ttft_s"}

_COLUMNS = ("model", "gpu", "tp", "input_len", "output_len", "weight_dtype", "kv_dtype", "scheme", "engine", "metric")
#: Values of ``extra`` that say how the model was split and served.
_EXTRAS = ("mode", "pp", "attn_dp", "moe_ep", "concurrency")
_EMPTY = ("", "nan", "none", "auto")
_MOST_USERS = 1e6


@dataclass(frozen=True)
class Served:
    """Predictions of a serving table, one per row.

    :ivar predicted: in the unit of the row's metric; NaN where there is none, and likewise the ends of the 80 % band
    :ivar note: what limits the prediction, or why there is none
    """

    predicted: Array
    low: Array
    high: Array
    note: tuple[str, ...]


@dataclass(frozen=True)
class _Outcome:
    values: tuple[float, float, float]
    note: str = ""


class _RefusedError(Exception):
    """Why a row has no prediction."""


def predict_serving(table: Table, calibration: str | None, progress: Progress | None = None) -> Served:
    """TPOT and TTFT of each row whose metric is one of them.

    :param table: with the columns ``model, gpu, tp, input_len, output_len, engine, metric`` and ``batch``, or
        ``concurrency`` (in ``extra`` too), which goes first: some tables count ``batch`` per rank
    :param calibration: name of a calibration; ``none`` for class defaults; ``None`` for the usual choice
    """
    concurrency = [a or b for a, b in zip(table.extra("concurrency"), table.text("batch"), strict=True)]
    columns = [*(table.text(name) for name in _COLUMNS), *(table.extra(name) for name in _EXTRAS[:-1]), concurrency]
    distinct, rows = codes(columns)
    names = (*_COLUMNS, *_EXTRAS)
    outcomes = []
    for done, values in enumerate(distinct):
        row = dict(zip(names, (value.strip() for value in values), strict=True))
        outcomes.append(_outcome(row, table.folder, calibration))
        if progress is not None:
            progress(done + 1, len(distinct))
    ends = np.array([outcome.values for outcome in outcomes])[rows]
    notes = [table.damaged.get(row) or outcomes[kind].note for row, kind in enumerate(rows)]
    return Served(ends[:, 1], ends[:, 0], ends[:, 2], tuple(notes))


def _outcome(row: dict[str, str], folder: Path, calibration: str | None) -> _Outcome:
    try:
        return _predicted({**row, "gpu": device_of(row["gpu"], folder).name or row["gpu"]}, calibration)
    except (KvwallError, _RefusedError) as refusal:
        return _Outcome((np.nan, np.nan, np.nan), str(refusal))


def _predicted(row: dict[str, str], calibration: str | None) -> _Outcome:
    field = METRICS.get(row["metric"])
    if field is None:
        raise _RefusedError(f"metric {row['metric']!r} is not predicted (tpot_ms and ttft_ms are)")
    if row["mode"] not in (*_EMPTY, "agg"):
        raise _RefusedError(
            f"mode {row['mode']!r}: one pool serves prefill and decode here; separate pools are not modelled"
        )
    users = _whole(row, "concurrency", None)
    asked = _Asked(
        row["model"], row["gpu"], _whole(row, "tp", 1), _whole(row, "pp", 1), _whole(row, "attn_dp", 1),
        row["moe_ep"], row["engine"], row["weight_dtype"], row["kv_dtype"], row["scheme"], calibration,
    )  # fmt: skip
    found = _loop(asked, users, _whole(row, "input_len", None), _whole(row, "output_len", None))
    low, mid, high = (float(getattr(end, field)[-1]) * 1e3 for end in (found.low, found.mid, found.high))
    if row["metric"] == "ttft_ms":
        low, high = min(low, mid / TTFT_SPREAD), max(high, mid * TTFT_SPREAD)
    return _Outcome((low, mid, high), "; ".join(_notes(found, users, row)))


def _notes(found: Priced, users: int, row: dict[str, str]) -> list[str]:
    notes = []
    places = int(found.batch[-1])
    if places < users:
        notes.append(f"KV-bound: {places} of {users} requests fit at once, the others wait")
    if float(found.mid.tokens_per_s[-1]) > FRONT_END_TOKENS_PER_S:
        notes.append(f"above {FRONT_END_TOKENS_PER_S:,.0f} tokens/s one front-end process may be the limit")
    used = found.combination.setup.calibration_name
    notes.append("class defaults, no calibration" if used == CLASS_DEFAULTS else f"kernels of {used}")
    if row["metric"] == "ttft_ms":
        notes.append(f"TTFT depends on how requests arrive: within a factor of {TTFT_SPREAD:g}")
    return notes


@dataclass(frozen=True)
class _Asked:
    """What a row says of its deployment, as it is spelled there; a device that it knows by its name."""

    model: str
    gpu: str
    tp: int
    pp: int
    attn_dp: int
    moe_ep: str
    engine: str
    weights: str
    kv_dtype: str
    scheme: str
    calibration: str | None


@lru_cache(maxsize=4096)
def _loop(asked: _Asked, users: int, inputs: int, outputs: int) -> Priced:
    """The closed loop of ``users``; its last batch is the largest that fits and that they fill."""
    setup = _setup(asked)
    one = np.ones(1)
    load = Load(one, one * inputs, one * outputs, one * 0, users)
    question = Question(setup.model_name, setup.system.device_id, {}, load, Targets(), Freedom())
    found = priced(Combination(setup, setup.stack.text), question)
    if not isinstance(found, Priced):
        raise _RefusedError(found.reason)
    return found


@lru_cache(maxsize=1024)
def _setup(asked: _Asked) -> Setup:
    """The deployment that a row describes."""
    device = device_of(asked.gpu)
    if not device.name:
        raise _RefusedError(device.why)
    if not asked.model:
        raise _RefusedError("no model is named")
    name, spec = find_model(asked.model)
    family, _, version = asked.engine.partition(" ")
    ranks = asked.tp * asked.attn_dp
    expert_ranks = int(float(asked.moe_ep)) if asked.moe_ep.replace(".", "", 1).isdigit() else 0
    inquiry = Inquiry(
        model=name,
        on=f"{device.name}:{ranks * asked.pp}",
        tp=asked.tp,
        pp=asked.pp,
        attn_dp=asked.attn_dp,
        ep=_inside(expert_ranks, asked.tp) if _has_experts(spec) else None,
        engine=family or "vllm",
        engine_version=None if version in _EMPTY else version,
        weights=_weights(asked.weights, native_weights(spec)),
        kv_dtype="fp8" if _is_fp8(asked.kv_dtype) else None,
        scheme="none" if asked.scheme in _EMPTY else asked.scheme,
    )
    if asked.calibration is not None:
        inquiry = replace(inquiry, calibration=asked.calibration)
    return resolve(inquiry).setup


def _inside(expert_ranks: int, tp: int) -> int | None:
    """Expert-parallel ranks of one group of ``tp`` ranks; a table may count those of all groups."""
    return math.gcd(expert_ranks, tp) if expert_ranks > 1 else None


def _has_experts(spec: ModelSpec) -> bool:
    return any(group.kind == "moe" for group in spec.feed_forward)


def _weights(text: str, native: str) -> str | None:
    """The weight format that a row's dtype means; ``None`` where it says nothing and the published one is taken."""
    if text.lower() in _EMPTY:
        return None
    found = dtype_of(text)
    if not found.name:
        return text
    if found.name in ("fp8", "fp8_block"):
        return native if native.startswith("fp8") else found.name.replace("_", "-")
    if found.name == "fp4":
        return native if "fp4" in native else "nvfp4"
    return "int4-g128" if found.name == "int4" else found.name


def _is_fp8(text: str) -> bool:
    return dtype_of(text).name == "fp8" if text.lower() not in _EMPTY else False


def _whole(row: dict[str, str], name: str, default: int | None) -> int:
    text = row[name]
    if text.lower() in _EMPTY and default is not None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 1 <= value <= _MOST_USERS * 100 or value != int(value):
        raise _RefusedError(f"{name} {text!r} is not a whole number from 1" if text else f"{name} is missing")
    return int(value)
