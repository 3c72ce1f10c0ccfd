"""What a browser may name: models and devices of the libraries, never a path of this machine."""

from __future__ import annotations

import base64
import binascii
import hashlib
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from kvwall.hardware.device import DEVICES
from kvwall.hardware.errors import InputError, unknown_name
from kvwall.hardware.library import Library
from kvwall.hardware.validation import shortened
from kvwall.simulator.page.controls import Controls
from kvwall.workloads.model_lookup import find_model
from kvwall.workloads.model_spec import MODELS
from kvwall.workloads.weight_format import WEIGHTS

#: A config.json is a few thousand bytes.
LARGEST_UPLOAD_BYTES = 200_000


def named(controls: Controls) -> Controls:
    """``controls`` with the names of libraries in place of what was typed, so that nothing is opened by its path.

    :raises UnknownNameError: no library has such a name; names the nearest
    """
    return replace(
        controls,
        model=controls.model if _is_upload(controls.model) else _member(MODELS, "model", controls.model),
        on=",".join(_pool(part) for part in controls.on.split(",")),
        weights=_member(WEIGHTS, "weights", controls.weights) if controls.weights else "",
    )


def _pool(text: str) -> str:
    """``role=DEVICE:N`` with the device's name."""
    role, is_role, rest = text.strip().rpartition("=")
    device, has_count, count = rest.partition(":")
    return f"{role}{is_role}{_member(DEVICES, 'device', device.strip())}{has_count}{count}"


def _member(library: Library[Any], kind: str, name: str) -> str:
    found = library.resolve(name)
    if found not in library.names:
        raise unknown_name(kind, name, library.names, f"kvwall list {kind.rstrip('s')}s")
    return found


def _is_upload(model: str) -> bool:
    """Whether ``model`` is a file that :func:`keep_upload` made."""
    path = Path(model)
    return path.parent == _folder() and path.is_file()


def keep_upload(contents: str) -> str:
    """The name under which an uploaded ``config.json`` may be asked about; the same bytes have the same name.

    :param contents: a data URL, as a browser makes it
    :raises InputError: too large, not base64, or no config.json that a model can be read from
    """
    if len(contents) > LARGEST_UPLOAD_BYTES * 2:
        raise InputError(f"config.json: is too large (at most {LARGEST_UPLOAD_BYTES:,} bytes)")
    try:
        raw = base64.b64decode(contents.partition(",")[2], validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"config.json: {shortened(contents[:40])} is not a file") from None
    if not raw or len(raw) > LARGEST_UPLOAD_BYTES:
        raise InputError(f"config.json: {len(raw):,} bytes (1 to {LARGEST_UPLOAD_BYTES:,} are allowed)")
    path = _folder() / f"{hashlib.sha256(raw).hexdigest()[:24]}.json"
    path.write_bytes(raw)
    try:
        find_model(str(path))
    except InputError as error:
        path.unlink()
        raise InputError(str(error).replace(str(path), "config.json")) from None
    return str(path)


@cache
def _folder() -> Path:
    """A folder of this process alone."""
    return Path(tempfile.mkdtemp(prefix="kvwall-page-"))
