"""Products by table look-ups: their work by hand, linear in the bits, and where they may run."""

from __future__ import annotations

from typing import Any

import pytest

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.estimate import Axes
from kvwall.simulator.inquiry import Inquiry, resolve

#: Weights of the layers of Llama-2-7B: 32 x (4 x 4096^2 + 3 x 4096 x 11008).
LAYERS = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
HEAD = 4096 * 32000


def test_look_ups_stand_for_the_products_of_compressed_weights(measure: Any) -> None:
    """2 bits are 2 / 4 look-ups of 1.75 each per weight and token; only the 16-bit LM head and attention multiply."""
    found = measure(Axes(1, 128), model="llama-2-7b", on="xeon", weights="t-mac-w2", engine="none")
    assert found["terms"]["look up partial sums"] == pytest.approx(2 / 4 * 1.75 * LAYERS)
    assert found["terms"]["multiply"] == 2 * HEAD
    assert found["weights_read_bytes"] == pytest.approx(LAYERS * (2 + 16 / 128) / 8 + 2 * HEAD)


def test_time_of_look_ups_is_linear_in_bits_and_in_tokens(measure: Any) -> None:
    two, four, batch = (
        measure(Axes(b, 128), model="llama-2-7b", on="xeon", weights=f"t-mac-w{bits}", engine="none")["terms"]
        for bits, b in ((2, 1), (4, 1), (2, 3))
    )
    assert four["look up partial sums"] == pytest.approx(2 * two["look up partial sums"])
    assert batch["look up partial sums"] == pytest.approx(3 * two["look up partial sums"])


def test_a_question_on_the_wrong_device_is_refused() -> None:
    with pytest.raises(ForbiddenError, match="need a processor"):
        resolve(Inquiry("llama-2-7b", on="h100", weights="t-mac-w2"))
