"""An engine that appends by copying: the bytes of its copies by hand, and who is spared them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kvwall.simulator.estimate import Axes, estimate


def copied_bytes(found: dict[str, Any]) -> float:
    return float(found["terms"].get("copy key", 0.0) + found["terms"].get("copy value", 0.0))


def test_a_step_copies_the_whole_cache(measure: Any) -> None:
    """Llama-2-7B keeps 524,288 bytes a token: 4 sequences of 1,000 tokens are read and written once, 2 x 2.097e9."""
    found = measure(Axes(4, 1000), model="llama-2-7b", engine="hf")
    assert copied_bytes(found) == 2 * 4 * 1000 * 524_288
    assert copied_bytes(measure(Axes(4, 1000), model="llama-2-7b", engine="vllm")) == 0


def test_a_copy_is_no_part_of_the_bound_and_of_what_attention_reads(measure: Any) -> None:
    """No implementation needs it; a prefill has nothing to append to."""
    copying, plain = (measure(Axes(4, 1000), model="llama-2-7b", engine=engine) for engine in ("hf", "vllm"))
    assert copying["ideal_s"] == plain["ideal_s"]
    assert copying["kv_read_bytes"] == plain["kv_read_bytes"]
    assert copied_bytes(measure(Axes(4, 1000, "prefill"), model="llama-2-7b", engine="hf")) == 0


def test_fewer_bytes_stored_are_fewer_bytes_copied(measure: Any) -> None:
    """8 bits halve the copy; what lies on the host is not copied on the device."""
    dense = copied_bytes(measure(Axes(2, 4096), model="llama-2-7b", engine="hf"))
    assert copied_bytes(measure(Axes(2, 4096), model="llama-2-7b", engine="hf", scheme="fp8")) == dense / 2
    away = measure(Axes(2, 4096), model="llama-2-7b", engine="hf", scheme="offload:fraction=0.25")
    assert copied_bytes(away) == pytest.approx(0.75 * dense)


def test_every_rank_copies_its_heads(measure: Any) -> None:
    """Two ranks hold half of the 32 heads each: together they copy what one would."""
    one, two = (
        measure(Axes(4, 1000), model="llama-2-7b", engine="hf", on=f"h100:{n}", split={"tp": n}) for n in (1, 2)
    )
    assert copied_bytes(two) == copied_bytes(one)


def test_a_recurrent_state_does_not_grow(setup_of: Any) -> None:
    found = estimate(setup_of("qwen3.5-27b", engine="hf"), Axes(1, 4096))
    assert not any(line.term.name == "copy state" for line in found.lines)
    assert np.any([line.term.name == "copy key" for line in found.lines])
