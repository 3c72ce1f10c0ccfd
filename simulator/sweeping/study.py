"""A study: lists over models, machines, schemes and splits, and grids of batch and context, read from YAML."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from kvwall.hardware.document import Document, read_document
from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.base import kvwall_version
from kvwall.simulator.inquiry import Inquiry
from kvwall.workloads.numbers import MOST_SEQUENCES, counts_from

#: More points than this are refused with the size that they would take.
MOST_POINTS = 2_000_000_000
#: Bytes of one point in a Parquet file, measured on studies of millions of points.
BYTES_PER_POINT = 60.0


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
Counts = Annotated[tuple[int, ...], BeforeValidator(_listed), Field(min_length=1)]
Amounts = Annotated[tuple[float, ...], BeforeValidator(_listed), Field(min_length=1)]
Batches = Annotated[tuple[int, ...], BeforeValidator(lambda value: counts_from(value, highest=MOST_SEQUENCES))]
Contexts = Annotated[tuple[int, ...], BeforeValidator(counts_from)]


class Study(Document):
    """A grid of questions; every list but ``set`` is an axis of the table.

    :ivar on: ``DEVICE:N``
    :ivar batch: a list, ``"1..256*2"``, or ``{from, to, count, spacing}``; likewise ``context``
    :ivar price_usd_per_gpu_hour: in place of the devices' usual rent
    :ivar set: changes of a description that hold for all points, as in ``--set``
    """

    model: Texts
    on: Texts
    scheme: Texts = ("none",)
    weights: Texts | None = None
    engine: Texts = ("vllm",)
    tp: Counts | None = None
    pp: Counts | None = None
    price_usd_per_gpu_hour: Amounts | None = None
    calibration: Texts = ("auto",)
    phase: Literal["decode", "prefill"] = "decode"
    batch: Batches
    context: Contexts
    set: tuple[str, ...] = ()

    @property
    def points(self) -> int:
        """Rows of the whole table."""
        return len(self.combinations) * len(self.batch) * len(self.context)

    @cached_property
    def combinations(self) -> tuple[Inquiry, ...]:
        """Every combination of what is not a number on an axis of an array."""
        return tuple(self._combinations())

    def _combinations(self) -> Iterator[Inquiry]:
        axes = (
            self.model, self.on, self.weights or (None,), self.engine, self.tp or (None,), self.pp or (None,),
            self.price_usd_per_gpu_hour or (None,), self.calibration, self.scheme,
        )  # fmt: skip
        for model, on, weights, engine, tp, pp, price, calibration, scheme in product(*axes):
            yield Inquiry(
                model=str(model), on=str(on), weights=weights, engine=str(engine), tp=tp, pp=pp,
                price_usd_per_gpu_hour=price, calibration=str(calibration), scheme=str(scheme), set=self.set,
            )  # fmt: skip

    @cached_property
    def fingerprint(self) -> str:
        """What tells two studies, or one study under two versions, apart."""
        text = json.dumps([kvwall_version(), self.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_study(path: Path) -> Study:
    """The study that ``path`` holds.

    :raises InputError: what is wrong with the file, or a grid that is too large, with its count and size
    """
    study = read_document(path, Study)
    if study.points > MOST_POINTS:
        raise InputError(
            f"{path}: {study.points:,} points would take {study.points * BYTES_PER_POINT / 1e9:,.0f} GB "
            f"(at most {MOST_POINTS:,} points)"
        )
    return study


@dataclass(frozen=True)
class Chunk:
    """A part of the table that is priced at once: some batches of one combination, at every context.

    :ivar number: its place in the table
    """

    number: int
    inquiry: Inquiry
    batch: tuple[int, ...]
    context: tuple[int, ...]
    phase: Literal["decode", "prefill"]

    @property
    def points(self) -> int:
        """Rows."""
        return len(self.batch) * len(self.context)


def chunks(study: Study, points: int) -> tuple[Chunk, ...]:
    """The table in chunks of at most ``points`` rows, or of one batch and as many contexts; in the table's order."""
    found: list[Chunk] = []
    width = min(len(study.context), points)
    rows = max(1, points // width)
    for inquiry in study.combinations:
        for i in range(0, len(study.batch), rows):
            for j in range(0, len(study.context), width):
                batch, context = study.batch[i : i + rows], study.context[j : j + width]
                found.append(Chunk(len(found), inquiry, batch, context, study.phase))
    return tuple(found)
