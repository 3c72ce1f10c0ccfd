"""Points of a serving table as a fit of engine constants takes them: kernels without a host, and what was measured."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from kvwall.hardware.engine import Engine
from kvwall.hardware.engine_version import find_engine
from kvwall.hardware.errors import InputError, KvwallError
from kvwall.simulator.planning.loop import DeviceTimes, HostTimes, device_times, loop_kernels
from kvwall.simulator.planning.service import serve
from kvwall.simulator.predicting.serving import (
    METRICS,
    Asked,
    Loop,
    RefusedError,
    asked_of,
    distinct_rows,
    places_of,
    setup_of,
)
from kvwall.simulator.predicting.table import Table
from kvwall.simulator.setup import Setup

FOLDS = 5


@dataclass(frozen=True)
class ServedPoint:
    """One set-up with what was measured of it, in seconds; NaN where it was not.

    :ivar places: requests in flight at once; fewer than the users where the cache holds no more
    """

    asked: Asked
    loop: Loop
    places: int
    tpot_s: float = float("nan")
    ttft_s: float = float("nan")

    @property
    def setup(self) -> Setup:
        """Its deployment with the engine profile's own constants."""
        return replace(setup_of(self.asked), engine=profile_of(self.asked.engine))

    @property
    def kv_bound(self) -> bool:
        """Whether requests wait for room in the cache, which no constant of the engine tells."""
        return self.places < self.loop.users

    @property
    def fold(self) -> int:
        """Which part of a cross-validation it belongs to: repeats of a set-up stay together."""
        a, at = self.asked, self.loop
        return zlib.crc32(f"{a.model},{a.gpu},{a.tp},{a.attn_dp},{at.users},{at.inputs},{at.outputs}".encode()) % FOLDS


@dataclass(frozen=True)
class Series:
    """Points of one engine serving one model."""

    engine: str
    model: str
    experts: bool
    versions: tuple[str, ...]
    points: tuple[ServedPoint, ...]

    @property
    def profile(self) -> Engine:
        """The profile of the engine."""
        return profile_of(self.points[0].asked.engine)


def profile_of(text: str) -> Engine:
    """The profile that a row's engine and version mean, without any calibration."""
    family, _, version = text.partition(" ")
    return find_engine(family or "vllm", None if version in ("", "nan", "none", "auto") else version)


def series_of(table: Table) -> tuple[tuple[Series, ...], dict[str, int]]:
    """The points of ``table`` by engine and model, and how many rows are left out for which reason.

    :raises InputError: no row can be used; names the commonest reasons
    """
    known: dict[tuple[Asked, Loop], dict[str, list[float]]] = {}
    left_out: dict[str, int] = {}
    values = table.text("value")
    distinct, rows = distinct_rows(table)
    for at, kind in enumerate(rows):
        try:
            if table.damaged.get(at):
                raise RefusedError(table.damaged[at])
            asked, loop = asked_of(distinct[kind], None)
            value = _milliseconds(values[at])
            known.setdefault((asked, loop), {}).setdefault(METRICS[distinct[kind]["metric"]], []).append(value / 1e3)
        except (KvwallError, RefusedError) as refusal:
            left_out[str(refusal)] = left_out.get(str(refusal), 0) + 1
    points: dict[tuple[str, str], list[ServedPoint]] = {}
    for (asked, loop), measured in known.items():
        try:
            setup, places = setup_of(asked), places_of(asked, loop)
        except (KvwallError, RefusedError) as refusal:
            left_out[str(refusal)] = left_out.get(str(refusal), 0) + sum(map(len, measured.values()))
            continue
        told = {name: float(np.median(found)) for name, found in measured.items()}
        points.setdefault((setup.engine.engine, setup.model_name), []).append(ServedPoint(asked, loop, places, **told))
    if not points:
        reasons = "; ".join(f"{count:,} rows: {why}" for why, count in list(left_out.items())[:3])
        raise InputError(f"{table.where}: has no served point to fit ({reasons})")
    return tuple(_series(engine, model, found) for (engine, model), found in points.items()), left_out


def _series(engine: str, model: str, found: list[ServedPoint]) -> Series:
    versions = sorted({point.asked.engine.partition(" ")[2] for point in found} - {"", "nan"})
    return Series(engine, model, found[0].setup.expert_layers > 0, tuple(versions), tuple(found))


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < 1e9:
        raise RefusedError(f"value {text!r} is not a time in milliseconds" if text else "value is missing")
    return value


@lru_cache(maxsize=65536)
def _device(point: ServedPoint, breadth: float) -> tuple[Setup, DeviceTimes, float]:
    """The set-up of a point, its kernels at the middle of the band, and its sequences per attention group."""
    setup = point.setup
    serving = setup.engine.serving
    routing = serving.routing_breadth.model_copy(update={"low": breadth, "mid": breadth, "high": breadth})
    engine = setup.engine.model_copy(update={"serving": serving.model_copy(update={"routing_breadth": routing})})
    setup = replace(setup, engine=engine)
    per_rank = float(-(-point.places // (setup.deployment.dp * setup.deployment.attn_dp)))
    return setup, device_times(setup, point.loop.load, np.array([per_rank]))[0]["mid"], per_rank


def served(point: ServedPoint, constants: dict[str, float]) -> tuple[float, float]:
    """TPOT and TTFT of a point in seconds under ``constants``; those not named are the profile's.

    Equal to ``kvwall predict`` with the constants as a calibration.
    """
    engine = point.setup.engine

    def told(name: str) -> float:
        return constants[name] if name in constants else float(getattr(engine.host, name).mid)

    breadth = constants.get("routing_breadth", engine.serving.routing_breadth.mid)
    setup, device, per_rank = _device(point, breadth)
    host = HostTimes(
        told("per_step_s") + told("per_moe_layer_s") * setup.expert_layers,
        told("per_sequence_s"),
        told("prefill_per_layer_s") * setup.dense_layers,
    )
    profile = engine.serving.queue(setup.expert_layers > 0)
    queue = profile.model_copy(update={name: constants[name] for name in constants if hasattr(profile, name)})
    one = np.array([per_rank])
    kernels = loop_kernels(setup, point.loop.load, device, host, one)
    batch = np.array([float(point.places)])
    emitted = setup.speculation.emitted if setup.speculation else 1.0
    found = serve(kernels, one * setup.deployment.attn_dp, batch, point.loop.load, queue, emitted)
    return float(found.tpot_s[0]), float(found.ttft_s[0])
