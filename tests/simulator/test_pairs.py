"""Every pair of schemes at its defaults: lawful where it may be stacked, refused with both names where it may not."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.estimate import Axes, estimate
from kvwall.simulator.stack import Stack, parse_stack, scheme_names
from kvwall.workloads.model_lookup import find_model

MODEL = "llama-3.1-8b"
BATCH = np.array([[1.0], [48.0]])
CONTEXT = np.array([300.0, 16_384.0])


def _alone(name: str) -> bool:
    try:
        parse_stack(name).check(find_model(MODEL)[1])
    except ForbiddenError:
        return False
    return True


NAMES = tuple(name for name in scheme_names() if name != "none" and _alone(name))


def _stack(first: str, second: str) -> Stack | str:
    """The pair, or the words that refuse it."""
    try:
        stack = parse_stack(f"{first}+{second}")
        stack.check(find_model(MODEL)[1])
    except ForbiddenError as refusal:
        return str(refusal)
    return stack


def test_a_pair_is_refused_with_both_names_and_a_reason() -> None:
    for first, second in combinations(NAMES, 2):
        refused = _stack(first, second)
        if isinstance(refused, str):
            assert "\n" not in refused
            assert repr(first) in refused, refused
            assert repr(second) in refused, refused
            assert "shrink the" in refused or "cannot be stacked with" in refused, refused


def test_two_orders_of_a_pair_are_one_stack() -> None:
    for first, second in combinations(NAMES, 2):
        one, other = _stack(first, second), _stack(second, first)
        assert isinstance(one, str) == isinstance(other, str)
        if isinstance(one, Stack):
            assert one == other


@pytest.mark.parametrize("phase", ["decode", "prefill"])
@pytest.mark.parametrize("first", NAMES)
def test_legal_pairs_obey_the_laws(first: str, phase: Any, setup_of: Any) -> None:
    """No time below the bound, bands in order, all finite, and the bill adds up to the step."""
    for second in NAMES[NAMES.index(first) + 1 :]:
        stack = _stack(first, second)
        if isinstance(stack, str):
            continue
        found = estimate(setup_of(MODEL, stack.text, engine="none"), Axes(BATCH, CONTEXT, phase))
        band = found.step_s
        assert np.all(np.asarray(found.ideal_s) > 0), stack.text
        assert np.all(band.low >= found.ideal_s), stack.text
        assert np.all((band.low <= band.mid) & (band.mid <= band.high)), stack.text
        for field in ("weights_read_bytes", "kv_stored_bytes", "kv_read_bytes", "kv_written_bytes", "joules"):
            value = np.asarray(getattr(found, field))
            assert np.all(np.isfinite(value) & (value >= 0)), f"{stack.text}: {field}"
        shape = np.broadcast_shapes(BATCH.shape, CONTEXT.shape)
        charged = sum(np.broadcast_to(line.charged_s, shape) for line in found.lines)
        np.testing.assert_allclose(charged, np.broadcast_to(band.mid, shape), rtol=1e-12, err_msg=stack.text)
