"""Measured points on disk: appended one by one, each safe at once, and written as one table at the end."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kvwall.hardware.errors import InputError
from kvwall.simulator.cli.output import save

#: Columns of the table: those that ``kvwall predict`` reads, where a point is from, and what ``agree`` leaves out.
COLUMNS = (
    "source", "source_version", "gpu", "framework", "kernel_source", "kernel", "dtype", "kv_dtype", "batch", "q_len",
    "kv_len", "n_q_heads", "n_kv_heads", "head_dim", "window", "m", "n", "k", "num_gpus", "message_bytes", "cache",
    "extra", "latency_us", "flag",
)  # fmt: skip

#: Flag of a time that spreads by more than itself.
UNSTEADY = "unsteady"


class PointsFile:
    """The points of one folder, by the key of their case."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.points: dict[str, dict[str, Any]] = {}
        if path.exists():
            self._read()

    def _read(self) -> None:
        lines = self.path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            try:
                point = json.loads(line)
                self.points[point["key"]] = point
            except (ValueError, TypeError, KeyError):
                # The line that a power cut tore is measured again; a torn line in the middle is no such thing.
                if number < len(lines):
                    raise InputError(
                        f"{self.path}: line {number}: not a measured point (move the file away to start anew)"
                    ) from None

    def append(self, point: Mapping[str, Any]) -> None:
        """Keep ``point``, on disk before this returns."""
        text = json.dumps(point, separators=(",", ":")) + "\n"
        with self.path.open("a+b") as file:
            if file.tell() and not self._ends_with_newline(file):
                text = "\n" + text
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        self.points[str(point["key"])] = dict(point)

    @staticmethod
    def _ends_with_newline(file: Any) -> bool:
        file.seek(-1, os.SEEK_END)
        return bool(file.read(1) == b"\n")


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """``rows`` as a CSV table of :data:`COLUMNS`, all of it or nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if row.get(name) is None else row.get(name) for name in COLUMNS} for row in rows)
    save(path, text.getvalue())
