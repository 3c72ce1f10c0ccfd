"""From columns of text to the shapes of one kernel, and which rows lack what the kernel needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.predicting.names import BYTES, DESCRIBED
from kvwall.simulator.predicting.table import Numbers, Table, numbers
from kvwall.simulator.traffic import Array

#: Columns that hold numbers.
_COLUMNS = ("batch", "q_len", "kv_len", "n_q_heads", "n_kv_heads", "head_dim", "window", "m", "n", "k")

_ATTENTION = ("batch", "kv_len", "n_q_heads", "n_kv_heads", "head_dim")

#: Columns without which a kernel has no shape.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "decode_attention": _ATTENTION,
    "prefill_attention": (*_ATTENTION, "q_len"),
    "mla_decode": ("batch", "kv_len", "n_q_heads"),
    "mla_prefill": ("batch", "kv_len", "q_len", "n_q_heads"),
    "gemm": ("m", "n", "k"),
    "all_reduce": ("num_gpus", "message_bytes"),
    "all_gather": ("num_gpus", "message_bytes"),
    "reduce_scatter": ("num_gpus", "message_bytes"),
    "alltoall": ("num_gpus", "message_bytes"),
    "send_recv": ("message_bytes",),
    "quantize": ("m", "k"),
    "host_copy": ("message_bytes",),
    "memory_copy": ("message_bytes",),
    **dict.fromkeys(DESCRIBED, ("moved_bytes", "flops")),
}

#: Columns that a kernel may leave out, but not give wrongly.
_OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "decode_attention": ("q_len", "window"),
    "prefill_attention": ("window",),
    "mla_decode": ("q_len", "head_dim"),
    "mla_prefill": ("head_dim",),
    "send_recv": ("num_gpus",),
}

#: What a row states of a kernel that its other columns do not describe.
_STATED = ("moved_bytes", "flops")

#: No dimension of a kernel is larger; a larger one is a mistyped number.
_LARGEST = 1e12

#: The smallest value of a column where it is not 1.
_SMALLEST = {"window": 0.0, "message_bytes": 1e-3, "flops": 0.0}

#: Channels of a cached latent (512, and 64 with positions) and of a head it expands to (DeepSeek-V2, arXiv 2405.04434).
LATENT_DIM, LATENT_VALUE_DIM = 576, 512
MLA_HEAD_DIM, MLA_VALUE_DIM = 192, 128

#: Keys that count elements of the row's dtype.
_ELEMENT_KEYS = ("elements", "message_elements", "message_elems_or_bytes")

#: Sources whose "elements" are bytes. Vidur's profiler counts bytes and its predictor divides by 2 bytes a channel
#: (sklearn_execution_time_predictor.py); read as elements, its send_recv would beat NVLink by half.
_BYTE_SOURCES = ("vidur",)


@dataclass(frozen=True)
class Shapes:
    """All rows of a table as numbers.

    :ivar columns: by name; NaN where a row says nothing
    :ivar bad: cells that are no numbers, by column and row
    """

    columns: dict[str, Array]
    bad: dict[str, dict[int, str]]

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def problem(self, kernel: str, row: int) -> str:
        """Why ``row`` has no shape for ``kernel``."""
        for name in (*NEEDED[kernel], *_OPTIONAL.get(kernel, ())):
            shown = self.bad.get(name, {}).get(row)
            if shown is not None:
                return f"{name} {shown!r} is not a number"
            value = self.columns[name][row]
            if np.isnan(value) and name in NEEDED[kernel]:
                return f"{name} is missing, {kernel} needs it"
            low = _SMALLEST.get(name, 1.0)
            if not (np.isnan(value) or low <= value <= _LARGEST):
                return f"{name} {value:g} must lie between {low:g} and {_LARGEST:g}"
        return _contradiction(kernel, self, row)

    def usable(self, kernel: str, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of ``rows`` have all that ``kernel`` needs."""
        good = np.ones(rows.size, dtype=np.bool_)
        for name in (*NEEDED[kernel], *_OPTIONAL.get(kernel, ())):
            value = self.columns[name][rows]
            inside = (value >= _SMALLEST.get(name, 1.0)) & (value <= _LARGEST)
            if name not in NEEDED[kernel]:
                wrong = self.bad.get(name, {})
                inside |= np.isnan(value) & ~np.isin(rows, list(wrong))
            good &= inside
        if "kv_len" in NEEDED[kernel]:
            good &= ~(self["q_len"][rows] > self["kv_len"][rows])
        if "n_kv_heads" in NEEDED[kernel]:
            good &= self["n_kv_heads"][rows] <= self["n_q_heads"][rows]
        return good


def _contradiction(kernel: str, shapes: Shapes, row: int) -> str:
    queries, tokens = shapes["q_len"][row], shapes["kv_len"][row]
    if "kv_len" in NEEDED[kernel] and queries > tokens:
        return f"q_len {queries:g} exceeds kv_len {tokens:g}, which counts the new tokens too"
    heads, kv_heads = shapes["n_q_heads"][row], shapes["n_kv_heads"][row]
    return f"n_kv_heads {kv_heads:g} exceeds n_q_heads {heads:g}"


def shapes_of(table: Table, dtypes: list[str]) -> Shapes:
    """The shapes of all rows.

    :param dtypes: canonical number format of each row, for messages that count elements; empty where unknown
    """
    columns: dict[str, Numbers] = {name: numbers(table.extra(name)) for name in _COLUMNS}
    columns["num_gpus"] = numbers(table.extra("num_gpus"))
    columns["devices_per_node"] = numbers(table.extra("devices_per_node"))
    columns["message_bytes"] = numbers(table.extra("message_bytes"))
    columns |= {name: numbers(table.extra(name)) for name in ("value_dim", *_STATED)}
    values = {name: column.values for name, column in columns.items()}
    sizes = (
        1.0 if source.startswith(_BYTE_SOURCES) else BYTES.get(dtype, 2.0)
        for source, dtype in zip(table.text("source"), dtypes, strict=True)
    )
    size = np.fromiter(sizes, dtype=float, count=len(dtypes))
    for key in _ELEMENT_KEYS:
        counted = numbers(table.extra(key)).values * size
        values["message_bytes"] = np.where(np.isnan(values["message_bytes"]), counted, values["message_bytes"])
    values["warm"] = np.asarray([0.0 if cell.strip().lower() == "cold" else 1.0 for cell in table.extra("cache")])
    return Shapes(values, {name: column.bad for name, column in columns.items() if column.bad})


def points_of(kernel: str, shapes: Shapes, rows: NDArray[np.int64], *, stated: bool = False) -> Points:
    """The shapes of ``rows``, all of one ``kernel``.

    :param stated: keep the bytes and operations that the rows state
    """

    def column(name: str, default: float) -> Array:
        value = shapes[name][rows]
        return np.where(np.isnan(value), default, value)

    latent = kernel == "mla_decode"
    expanded = kernel == "mla_prefill"
    heads = column("n_q_heads", 1.0)
    head_dim = column("head_dim", LATENT_DIM if latent else MLA_HEAD_DIM if expanded else 128.0)
    own_value = np.full(rows.size, LATENT_VALUE_DIM) if latent else np.full(rows.size, MLA_VALUE_DIM)
    value_dim = shapes["value_dim"][rows]
    value_dim = np.where(np.isnan(value_dim), own_value if latent or expanded else head_dim, value_dim)
    return Points(
        batch=column("batch", 1.0),
        q_len=column("q_len", 1.0),
        kv_len=column("kv_len", 1.0),
        q_heads=heads,
        kv_heads=np.ones(rows.size) if latent else heads if expanded else column("n_kv_heads", 1.0),
        head_dim=head_dim,
        value_dim=value_dim,
        window=column("window", 0.0),
        m=column("m", 1.0),
        n=column("n", 1.0),
        k=column("k", 1.0),
        ranks=column("num_gpus", 2.0 if kernel == "send_recv" else 1.0),
        message_bytes=column("message_bytes", 0.0),
        **({name: column(name, 0.0) for name in _STATED} if stated else {}),
        warm=shapes["warm"][rows],
    )
