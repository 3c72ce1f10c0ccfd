"""Writing a table: plain or gzipped by the name of the file, all of it or nothing."""

from __future__ import annotations

import gzip
import os
from contextlib import suppress
from pathlib import Path

from kvwall.hardware.errors import InputError


def save_table(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, gzipped where the name ends in ``.gz``; an interrupted command leaves no half file.

    :raises InputError: the folder is missing or cannot be written to, or ``path`` is a folder
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected the name of a file")
    raw = text.encode()
    # No time of writing, so that the same table is the same file.
    packed = gzip.compress(raw, mtime=0) if path.suffix == ".gz" else raw
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(packed)
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
