"""Serving tables: TPOT and TTFT of a closed loop at the stated concurrency, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kvwall.hardware.errors import KvwallError
from kvwall.simulator.inquiry import Inquiry, native_weights, resolve
from kvwall.simulator.planning.combinations import Combination
from kvwall.simulator.planning.load import Load
from kvwall.simulator.planning.pricing import Priced, priced
from kvwall.simulator.planning.question import Freedom, Question, Targets
from kvwall.simulator.planning.service import FRONT_END_TOKENS_PER_S
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
_EXTRAS = ("mode", "pp", "attn_dp", "moe_ep", "gemm", "memory_utilization", "length_ratio", "concurrency")
_EMPTY = ("", "nan", "none", "auto")
_MOST_USERS = 1e6
#: A wait for room in the cache is as uncertain as the room: an 80 % band of x/÷ 3.
_KV_BOUND_SPREAD = 3.0


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


class RefusedError(Exception):
    """Why a row has no prediction."""


def predict_serving(table: Table, calibration: str | None, progress: Progress | None = None) -> Served:
    """TPOT and TTFT of each row whose metric is one of them.

    :param table: with the columns ``model, gpu, tp, input_len, output_len, engine, metric`` and ``batch``, or
        ``concurrency`` (in ``extra`` too), which goes first: some tables count ``batch`` per rank
    :param calibration: name of a calibration; ``none`` for class defaults; ``None`` for the usual choice
    """
    distinct, rows = distinct_rows(table)
    outcomes = []
    for done, row in enumerate(distinct):
        outcomes.append(_outcome(row, calibration))
        if progress is not None:
            progress(done + 1, len(distinct))
    ends = np.array([outcome.values for outcome in outcomes])[rows]
    notes = [table.damaged.get(row) or outcomes[kind].note for row, kind in enumerate(rows)]
    return Served(ends[:, 1], ends[:, 0], ends[:, 2], tuple(notes))


def distinct_rows(table: Table) -> tuple[list[dict[str, str]], NDArray[np.int64]]:
    """The rows of a serving table that differ in what they describe, and which of them each row is."""
    concurrency = [a or b for a, b in zip(table.extra("concurrency"), table.text("batch"), strict=True)]
    columns = [*(table.text(name) for name in _COLUMNS), *(table.extra(name) for name in _EXTRAS[:-1]), concurrency]
    found, rows = codes(columns)
    named = [dict(zip((*_COLUMNS, *_EXTRAS), (value.strip() for value in values), strict=True)) for values in found]
    return [{**row, "gpu": device_of(row["gpu"], table.folder).name or row["gpu"]} for row in named], rows


def _outcome(row: dict[str, str], calibration: str | None) -> _Outcome:
    try:
        return _predicted(row, calibration)
    except (KvwallError, RefusedError) as refusal:
        return _Outcome((np.nan, np.nan, np.nan), str(refusal))


def _predicted(row: dict[str, str], calibration: str | None) -> _Outcome:
    asked, loop = asked_of(row, calibration)
    found = _loop(asked, loop)
    mid = float(getattr(found.mid, METRICS[row["metric"]])[-1]) * 1e3
    spread = _spread(found, row["metric"])
    return _Outcome((mid / spread, mid, mid * spread), "; ".join(_notes(found, loop.users, row)))


def asked_of(row: dict[str, str], calibration: str | None) -> tuple[Asked, Loop]:
    """The deployment and the load of a row.

    :param row: cells of the columns and of ``extra`` that a serving table may have
    :raises RefusedError: a cell is missing or out of range, or the metric or the mode is none that is modelled
    """
    if row["metric"] not in METRICS:
        raise RefusedError(f"metric {row['metric']!r} is not predicted (tpot_ms and ttft_ms are)")
    if row["mode"] not in (*_EMPTY, "agg"):
        raise RefusedError(
            f"mode {row['mode']!r}: one pool serves prefill and decode here; separate pools are not modelled"
        )
    dtype = row["gemm"] if row["gemm"].startswith(row["weight_dtype"]) else row["weight_dtype"]
    asked = Asked(
        row["model"], row["gpu"], _whole(row, "tp", 1), _whole(row, "pp", 1), _whole(row, "attn_dp", 1),
        row["moe_ep"], row["engine"], dtype, row["kv_dtype"], row["scheme"], calibration,
        _fraction(row, "memory_utilization"),
    )  # fmt: skip
    ratio = _fraction(row, "length_ratio") or 1.0
    users = _whole(row, "concurrency", None)
    return asked, Loop(users, _whole(row, "input_len", None) * ratio, _whole(row, "output_len", None) * ratio)


def _spread(found: Priced, metric: str) -> float:
    """Factor each way that holds 80 % of what is measured."""
    setup = found.combination.setup
    queue = setup.engine.serving.queue(setup.expert_layers > 0)
    if metric == "tpot_ms":
        return queue.tpot_spread
    return max(queue.ttft_spread, _KV_BOUND_SPREAD) if bool(found.mid.wait_s[-1] > 0) else queue.ttft_spread


def places_of(asked: Asked, loop: Loop) -> int:
    """Requests in flight at once: all users, or as many as the cache holds."""
    return int(_loop(asked, loop).batch[-1])


def _notes(found: Priced, users: int, row: dict[str, str]) -> list[str]:
    notes = []
    places = int(found.batch[-1])
    if places < users:
        notes.append(f"KV-bound: {places} of {users} requests fit at once, the others wait: no TTFT can be promised")
    if float(found.mid.tokens_per_s[-1]) > FRONT_END_TOKENS_PER_S:
        notes.append(f"above {FRONT_END_TOKENS_PER_S:,.0f} tokens/s one front-end process may be the limit")
    used = found.combination.setup.calibration_name
    notes.append("class defaults, no calibration" if used == CLASS_DEFAULTS else f"kernels of {used}")
    if row["metric"] == "ttft_ms":
        spread = _spread(found, row["metric"])
        notes.append(f"TTFT depends on how requests arrive: within a factor of {spread:.2g}")
    return notes


@dataclass(frozen=True)
class Asked:
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
    memory_utilization: float | None = None


@dataclass(frozen=True)
class Loop:
    """A closed loop: users with one request in flight each, and their mean lengths."""

    users: int
    inputs: float
    outputs: float

    @property
    def load(self) -> Load:
        """The load as a plan has it."""
        one = np.ones(1)
        return Load(one, one * self.inputs, one * self.outputs, one * 0, self.users, half_written=True)


@lru_cache(maxsize=4096)
def _loop(asked: Asked, loop: Loop) -> Priced:
    """The closed loop; its last batch is the largest that fits and that the users fill."""
    setup, load = setup_of(asked), loop.load
    question = Question(setup.model_name, setup.system.device_id, {}, load, Targets(), Freedom())
    found = priced(Combination(setup, setup.stack.text), question)
    if not isinstance(found, Priced):
        raise RefusedError(found.reason)
    return found


@lru_cache(maxsize=1024)
def setup_of(asked: Asked) -> Setup:
    """The deployment that a row describes."""
    device = device_of(asked.gpu)
    if not device.name:
        raise RefusedError(device.why)
    if not asked.model:
        raise RefusedError("no model is named")
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
        kv_dtype=_kv_dtype(asked),
        memory_utilization=asked.memory_utilization,
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


def _kv_dtype(asked: Asked) -> str | None:
    """The cache format that a row states or implies.

    TensorRT-LLM's own fp8 checkpoints (scales per tensor) hold an fp8 cache: 90 closed-loop rows of Qwen3-32B on one
    to eight H100 fit in memory only so, and are predicted within 3.5 % of TPOT (median) instead of 4.4 %. Published
    checkpoints with scales per block keep 16 bits.
    """
    if asked.kv_dtype.lower() not in _EMPTY:
        return "fp8" if dtype_of(asked.kv_dtype).name == "fp8" else None
    own = asked.engine.lower().startswith(("trt", "tensorrt")) and dtype_of(asked.weights).name == "fp8"
    return "fp8" if own and asked.weights.lower() not in _EMPTY else None


def _fraction(row: dict[str, str], name: str) -> float | None:
    text = row[name]
    if text.lower() in _EMPTY:
        return None
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 0 < value <= 1:
        raise RefusedError(f"{name} {text!r} is not a number above 0 and at most 1")
    return value


def _whole(row: dict[str, str], name: str, default: int | None) -> int:
    text = row[name]
    if text.lower() in _EMPTY and default is not None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 1 <= value <= _MOST_USERS * 100 or value != int(value):
        raise RefusedError(f"{name} {text!r} is not a whole number from 1" if text else f"{name} is missing")
    return int(value)
