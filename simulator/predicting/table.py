"""Tables of points: CSV files, plain or gzipped, held as columns of text that are copied through unchanged."""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kvwall.hardware.errors import InputError, suggestion
from kvwall.hardware.validation import shortened
from kvwall.simulator.traffic import Array

#: Larger tables are refused before they fill the memory.
LARGEST_TABLE_BYTES = 500_000_000
_GZIP = b"\x1f\x8b"
_ZSTD_XZ_ZIP = (b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"PK\x03\x04")


@dataclass(frozen=True)
class Table:
    """Rows of text under named columns.

    :ivar where: the file, for messages
    :ivar columns: names in the order of the file
    :ivar cells: text of each column, one per row
    :ivar damaged: what is wrong with a row as such (cells missing or too many), by row
    """

    where: str
    columns: tuple[str, ...]
    cells: dict[str, list[str]]
    damaged: dict[int, str]

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(next(iter(self.cells.values()))) if self.cells else 0

    @property
    def folder(self) -> Path:
        """Where the table lies: paths in it are relative to that."""
        where = Path(self.where)
        return where if where.is_dir() else where.parent

    def text(self, column: str, default: str = "") -> list[str]:
        """The cells of ``column``; ``default`` for empty ones and for a column that is not there."""
        found = self.cells.get(column)
        if found is None:
            return [default] * self.rows
        return [cell or default for cell in found] if default else found

    def has(self, column: str) -> bool:
        """Whether the column is there and any of its cells holds something."""
        return any(self.cells.get(column, ()))

    @cached_property
    def extras(self) -> list[dict[str, str]]:
        """The ``key=value`` pairs of the column ``extra``, separated by semicolons; one mapping per row."""
        parsed = {cell: _pairs(cell) for cell in set(self.text("extra"))}
        return [parsed[cell] for cell in self.text("extra")]

    def extra(self, key: str) -> list[str]:
        """The column ``key``, or where that is empty the value of ``key`` in ``extra``."""
        own = self.text(key)
        if "extra" not in self.cells:
            return own
        return [cell or extra.get(key, "") for cell, extra in zip(own, self.extras, strict=True)]


@dataclass(frozen=True)
class Numbers:
    """A column as numbers.

    :ivar values: NaN where a cell is empty or no number
    :ivar bad: cells that hold something else than a finite number, by row
    """

    values: Array
    bad: dict[int, str]


def numbers(cells: Sequence[str]) -> Numbers:
    """``cells`` as numbers, each distinct text parsed once."""
    parsed = {cell: _number(cell) for cell in set(cells)}
    values = np.fromiter((parsed[cell] for cell in cells), dtype=float, count=len(cells))
    wrong = {cell for cell, value in parsed.items() if math.isnan(value) and cell.strip()}
    bad = {row: cell for row, cell in enumerate(cells) if cell in wrong} if wrong else {}
    return Numbers(values, bad)


def codes(columns: Sequence[Sequence[str]]) -> tuple[list[tuple[str, ...]], NDArray[np.int64]]:
    """The distinct combinations of several columns, and which of them each row holds."""
    known: dict[tuple[str, ...], int] = {}
    rows = [known.setdefault(row, len(known)) for row in zip(*columns, strict=True)]
    return list(known), np.asarray(rows, dtype=np.int64)


def read_table(path: Path) -> Table:
    """The table in the CSV file ``path``, plain or gzipped.

    :raises InputError: the file is missing, a folder, not CSV text, too large, or has no header or no rows
    """
    where = str(path) if len(str(path)) <= 300 else shortened(str(path))
    text = _decode(_bytes(path, where), where)
    reader = csv.reader(io.StringIO(text, newline=""), strict=False)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, text, where)
        return _filled(where, header, (row for row in reader if any(row)))
    except csv.Error as error:
        raise InputError(f"{where}: line {reader.line_num}: not CSV ({error})") from None


def one_table(tables: Sequence[Table], where: str) -> Table:
    """The rows of several tables under the columns of all; a column that a table lacks is empty there."""
    columns = tuple(dict.fromkeys(column for table in tables for column in table.columns))
    cells = {column: [cell for table in tables for cell in table.text(column)] for column in columns}
    damaged: dict[int, str] = {}
    start = 0
    for table in tables:
        damaged |= {start + row: why for row, why in table.damaged.items()}
        start += table.rows
    return Table(where, columns, cells, damaged)


def written(columns: Iterable[str], cells: Sequence[Sequence[str]]) -> str:
    """CSV text of ``cells`` (one sequence per column) under ``columns``."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*cells, strict=True))
    return out.getvalue()


def _bytes(path: Path, where: str) -> bytes:
    try:
        if path.is_dir():
            raise InputError(f"{where}: is a folder, expected a CSV file")
        raw = path.read_bytes() if path.stat().st_size <= LARGEST_TABLE_BYTES else None
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror or error})") from None
    if raw is not None and raw.startswith(_GZIP):
        raw = _unzipped(raw, where)
    if raw is None or len(raw) > LARGEST_TABLE_BYTES:
        raise InputError(f"{where}: is larger than {LARGEST_TABLE_BYTES:,} bytes")
    if raw.startswith(_ZSTD_XZ_ZIP):
        raise InputError(f"{where}: is an archive, expected CSV or gzipped CSV")
    return raw


def _unzipped(raw: bytes, where: str) -> bytes:
    try:
        with gzip.open(io.BytesIO(raw)) as stream:
            return stream.read(LARGEST_TABLE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{where}: is a damaged gzip file ({error})") from None


def _decode(raw: bytes, where: str) -> str:
    if b"\0" in raw:
        raise InputError(f"{where}: is a binary file, expected CSV")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: is not UTF-8 text (byte {error.start})") from None


def _check_header(header: list[str], text: str, where: str) -> None:
    if not any(header):
        raise InputError(f"{where}: is empty, expected a CSV header")
    if len(header) == 1:
        other = next((name for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")) if mark in text), "")
        raise InputError(f"{where}: has one column {shortened(header[0])}" + (f"; it uses {other}" if other else ""))
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{where}: the column {shortened(twice)} stands twice")


def _filled(where: str, header: list[str], rows: Iterator[list[str]]) -> Table:
    body: list[list[str]] = []
    damaged: dict[int, str] = {}
    width = len(header)
    for row in rows:
        if len(row) != width:
            damaged[len(body)] = f"the row has {len(row)} cells, the header {width}"
            row = (row + [""] * width)[:width]
        body.append(row)
    if not body:
        raise InputError(f"{where}: has a header and no rows")
    return Table(where, tuple(header), dict(zip(header, map(list, zip(*body, strict=True)), strict=True)), damaged)


def require_columns(table: Table, needed: Iterable[str]) -> None:
    """Refuse a table that lacks a column: names the first one missing, what resembles it, and what is there."""
    for name in needed:
        if name not in table.columns:
            there = ", ".join(table.columns[:12]) + (", ..." if len(table.columns) > 12 else "")
            raise InputError(f"{table.where}: has no column {name!r}{suggestion(name, table.columns)} (found: {there})")


def _pairs(cell: str) -> dict[str, str]:
    parts = (part.partition("=") for part in cell.split(";"))
    return {key.strip(): value.strip() for key, separator, value in parts if separator}


def _number(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
