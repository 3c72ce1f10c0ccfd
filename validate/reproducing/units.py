"""Units of published figures: what one of each is in the unit that a quantity is computed in."""

from __future__ import annotations

#: Base units: bytes, bits, seconds, tokens, FLOP, and bare numbers. ``%`` is of a ratio; ``x`` is a ratio.
UNITS: dict[str, float] = {
    "x": 1.0,
    "%": 0.01,
    "B": 1.0,
    "kB": 1e3,
    "KiB": 2.0**10,
    "MB": 1e6,
    "MiB": 2.0**20,
    "GB": 1e9,
    "GiB": 2.0**30,
    "TB": 1e12,
    "bits": 1.0,
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "tokens": 1.0,
    "tokens/s": 1.0,
    "requests/s": 1.0,
    "batch": 1.0,
    "FLOP": 1.0,
    "MFLOP": 1e6,
    "GFLOP": 1e9,
    "TFLOP": 1e12,
    "TFLOP/s": 1e12,
    "GB/s": 1e9,
    "TB/s": 1e12,
    "TiB/s": 2.0**40,
    "J": 1.0,
    "parameters": 1.0,
}
