"""The rows of a chunk: columns of the table, priced as every answer is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kvwall.hardware.errors import KvwallError
from kvwall.simulator.auto import settle
from kvwall.simulator.blocks import blocks
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, Estimate, estimate
from kvwall.simulator.inquiry import resolve
from kvwall.simulator.setup import Setup
from kvwall.simulator.sweeping.study import Chunk
from kvwall.simulator.traffic import Array

if TYPE_CHECKING:
    import pyarrow as pa

#: Axes of the study that are the same in every row of a chunk, and told by its setup.
TEXTS = ("model", "on", "scheme", "weights", "engine", "calibration")
SPLIT = ("tp", "pp", "dp")
FIGURES = (
    "step_s_low", "step_s", "step_s_high", "ideal_step_s", "tokens_per_s", "kv_stored_bytes", "kv_read_bytes",
    "usd_per_million_tokens",
)  # fmt: skip


def chunk_table(chunk: Chunk) -> pa.Table:
    """The rows of ``chunk``; those of a combination that cannot be are there, with the reason and no figures."""
    import pyarrow as pa

    batch, context = np.array(chunk.batch, dtype=np.float64), np.array(chunk.context, dtype=np.float64)
    try:
        # What is left to the machine is settled for the grid of the chunk at its largest point.
        setup, _ = settle(resolve(chunk.inquiry, chunk.phase).setup, Axes(batch[-1], context[-1], chunk.phase))
        columns, refused = _priced(setup, batch, context, chunk), None
    except KvwallError as error:
        setup, refused = None, str(error)
        columns = {name: np.full(chunk.points, np.nan) for name in FIGURES}
        columns |= {"fits": np.zeros(chunk.points, bool), "bound_by": pa.nulls(chunk.points, pa.string())}
    arrays = {**_names(chunk, setup), "batch": np.repeat(chunk.batch, len(chunk.context))}
    arrays |= {"context": np.tile(chunk.context, len(chunk.batch)), **columns}
    arrays["refused"] = _same(refused, chunk.points)
    return pa.table({field.name: pa.array(arrays[field.name], field.type) for field in schema()}, schema())


def schema() -> pa.Schema:
    """Columns of the table and their types; texts that repeat are dictionaries."""
    import pyarrow as pa

    text = pa.dictionary(pa.int32(), pa.string())
    fields: list[Any] = [(name, text) for name in TEXTS] + [(name, pa.int32()) for name in SPLIT]
    fields += [("batch", pa.int64()), ("context", pa.int64())]
    fields += [(name, pa.float64()) for name in FIGURES]
    fields += [("fits", pa.bool_()), ("bound_by", text), ("refused", text)]
    return pa.schema(fields)


def _same(value: str | None, count: int) -> Any:
    """``count`` times the same text."""
    import pyarrow as pa

    indices = pa.array(np.zeros(count, np.int32), mask=np.full(count, value is None))
    return pa.DictionaryArray.from_arrays(indices, pa.array([value or ""]))


def _names(chunk: Chunk, setup: Setup | None) -> dict[str, Any]:
    asked = chunk.inquiry
    names: dict[str, str | None] = {
        "model": asked.model,
        "on": asked.on,
        "engine": asked.engine,
        "scheme": setup.stack.text if setup else asked.scheme,
        "weights": setup.weights_name if setup else asked.weights,
        "calibration": setup.calibration_name if setup else asked.calibration,
    }
    split = {"tp": asked.tp, "pp": asked.pp, "dp": asked.dp}
    if setup is not None:
        split = {name: getattr(setup.deployment, name) for name in split}
    ranks = {name: np.full(chunk.points, value or 0, np.int32) for name, value in split.items()}
    return {**{name: _same(value, chunk.points) for name, value in names.items()}, **ranks}


def _priced(setup: Setup, batch: Array, context: Array, chunk: Chunk) -> dict[str, Any]:
    """Figures of every point, block by block so that the bill of a block fits a core's cache."""
    parts = [_block(setup, part, context, chunk) for part in blocks(batch, context)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _block(setup: Setup, batch: Array, context: Array, chunk: Chunk) -> dict[str, Any]:
    axes = Axes(batch[:, None], context[None, :], chunk.phase)
    found = estimate(setup, axes)
    shape = (batch.size, context.size)

    def flat(value: Any) -> Array:
        return np.broadcast_to(np.asarray(value, dtype=np.float64), shape).ravel()

    usd = found.usd_per_million_tokens
    return {
        "step_s_low": flat(found.step_s.low),
        "step_s": flat(found.step_s.mid),
        "step_s_high": flat(found.step_s.high),
        "ideal_step_s": flat(found.ideal_s),
        "tokens_per_s": flat(found.tokens_per_s.mid),
        "kv_stored_bytes": flat(found.kv_stored_bytes),
        "kv_read_bytes": flat(found.kv_read_bytes),
        "usd_per_million_tokens": flat(np.nan if usd is None else usd),
        "fits": np.broadcast_to(Capacity(setup, 1).fits(axes.batch, axes.context), shape).ravel(),
        "bound_by": _bound_by(found, shape),
    }


def _bound_by(found: Estimate, shape: tuple[int, int]) -> Any:
    """The resource that is charged most at each point; the first of several, as in an answer."""
    charged: dict[str, Any] = {}
    for line in found.lines:
        resource = line.term.resource
        charged[resource] = charged[resource] + line.charged_s if resource in charged else line.charged_s
    names = list(charged)
    stacked = np.stack([np.broadcast_to(charged[name], shape) for name in names])
    return np.array(names, dtype=object)[np.argmax(stacked, axis=0).ravel()]
