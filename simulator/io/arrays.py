"""Numbers and arrays alike as arrays of floats."""

from __future__ import annotations

from typing import Any

import numpy as np

from kvwall.simulator.traffic import Array


def floats(value: Any) -> Array:
    """``value`` as an array of floats, so that whatever is computed from it broadcasts."""
    return np.asarray(value, dtype=np.float64)
