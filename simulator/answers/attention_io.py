"""The attention of one step against its I/O bounds, as plain numbers of an answer."""

from __future__ import annotations

from typing import Literal

import numpy as np

from kvwall.simulator.answers.base import Part, number
from kvwall.simulator.cache import Cache
from kvwall.simulator.io.report import FusionRow, LevelRow, io_report
from kvwall.simulator.setup import Setup
from kvwall.simulator.traffic import Numeric


class LevelIo(Part):
    """Traffic of one attention kernel between two levels of memory, all layers and devices.

    :ivar capacity_bytes: the fast level of the bound: the whole chip, or one unit; ``None`` if not on record
    :ivar bound_bytes: proved lower bound, never below the compulsory traffic
    :ivar constant: ``c`` of the bound written as ``c P d^2 / M`` elements
    :ivar bound: which bound binds
    :ivar ratio: moved over bound
    """

    operator: str
    layers: float
    level: Literal["HBM -> chip", "L2 -> SM"]
    capacity_bytes: float | None
    moved_bytes: float
    compulsory_bytes: float
    bound_bytes: float
    constant: float
    bound: str
    ratio: float


class KernelFusion(Part):
    """Whether the schemes' work runs inside one attention kernel on this device; bytes from device memory."""

    operator: str
    layers: float
    fused: bool
    why: str
    fused_bytes: float
    separate_bytes: float
    unfused_bytes: float


class AttentionIo(Part):
    """Both levels and the fusion of every kind of attention layer."""

    levels: tuple[LevelIo, ...]
    fusion: tuple[KernelFusion, ...]


def attention_io(setup: Setup, cache: Cache) -> AttentionIo:
    """The I/O of a step at the first point of its axes.

    :param cache: the rewritten cache of one rank
    """
    report = io_report(setup, cache)
    return AttentionIo(
        levels=tuple(_level(row) for row in report.levels), fusion=tuple(_fusion(row) for row in report.fusion)
    )


def _first(value: Numeric) -> float:
    return number(np.ravel(value)[0])


def _level(row: LevelRow) -> LevelIo:
    return LevelIo(
        operator=row.operator,
        layers=row.layers,
        level=row.level,
        capacity_bytes=row.capacity_bytes,
        moved_bytes=_first(row.moved_bytes),
        compulsory_bytes=_first(row.compulsory_bytes),
        bound_bytes=_first(row.bound_bytes),
        constant=_first(row.constant),
        bound=str(np.ravel(row.bound)[0]),
        ratio=_first(row.ratio),
    )


def _fusion(row: FusionRow) -> KernelFusion:
    return KernelFusion(
        operator=row.operator,
        layers=row.layers,
        fused=row.fused,
        why=row.why,
        fused_bytes=_first(row.fused_bytes),
        separate_bytes=_first(row.separate_bytes),
        unfused_bytes=_first(row.unfused_bytes),
    )
