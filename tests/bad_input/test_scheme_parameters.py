"""Every number that a scheme takes, at its limits and beyond, alone and against workloads that it does not suit."""

from __future__ import annotations

import math
from typing import Any, get_args

import annotated_types
import numpy as np
import pytest
from pydantic.fields import FieldInfo

from kvwall.hardware.errors import InputError
from kvwall.simulator.estimate import Axes, estimate
from kvwall.simulator.inquiry import Inquiry, resolve
from kvwall.simulator.setup import Setup
from kvwall.simulator.stack import parse_stack, scheme_class, scheme_names

#: A model that a scheme applies to, where it is not the usual one.
MODELS = {"mla": "deepseek-v2-lite", "premoe": "deepseek-v2-lite", "hack": "infinity-8b", "scalekv": "infinity-8b"}


def _limits(field: FieldInfo) -> tuple[float, float, bool, bool]:
    """Lowest and highest value, and whether each of them is allowed."""
    low, high, low_allowed, high_allowed = -math.inf, math.inf, True, True
    notes = [*field.metadata]
    for kind in get_args(field.annotation):
        notes += [note for part in (kind, *get_args(kind)) for note in getattr(part, "metadata", ())]
        notes += list(getattr(kind, "__metadata__", ()))
    for note in notes:
        parts = note.metadata if isinstance(note, FieldInfo) else [note]
        for part in parts:
            if isinstance(part, annotated_types.Ge):
                low, low_allowed = float(part.ge), True  # type: ignore[arg-type]
            elif isinstance(part, annotated_types.Gt):
                low, low_allowed = float(part.gt), False  # type: ignore[arg-type]
            elif isinstance(part, annotated_types.Le):
                high, high_allowed = float(part.le), True  # type: ignore[arg-type]
            elif isinstance(part, annotated_types.Lt):
                high, high_allowed = float(part.lt), False  # type: ignore[arg-type]
    return low, high, low_allowed, high_allowed


def _is_number(field: FieldInfo) -> bool:
    kinds = [field.annotation, *get_args(field.annotation)]
    kinds += [inner for kind in kinds for inner in get_args(kind)]
    return any(kind in {int, float} for kind in kinds)


NUMBERS = [
    (name, key, field)
    for name in scheme_names()
    for key, field in scheme_class(name).model_fields.items()
    if _is_number(field)
]
each_number = pytest.mark.parametrize(
    ("name", "key", "field"), [pytest.param(*one, id=f"{one[0]}-{one[1]}") for one in NUMBERS]
)


def _written(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:g}"


def _setup(name: str, scheme: str) -> Setup:
    model = MODELS.get(name, "llama-3.1-8b")
    return resolve(Inquiry(model, "h100", engine="none", scheme=scheme, calibration="none")).setup


def _sane_or_one_line(name: str, scheme: str) -> str:
    """What a person reads: nothing where the answer is sane, else one line."""
    try:
        setup = _setup(name, scheme)
        for phase in ("decode", "prefill"):
            axes = Axes(np.array([[1.0], [7.0]]), np.array([1.0, 5.0, 1000.0]), phase)  # type: ignore[arg-type]
            found = estimate(setup, axes, keep_lines=False)
            band = found.step_s
            assert np.all(np.isfinite(band.high)), scheme
            assert np.all((np.asarray(found.ideal_s) > 0) & (band.low >= found.ideal_s)), scheme
            assert np.all((band.low <= band.mid) & (band.mid <= band.high)), scheme
            for field in ("kv_stored_bytes", "kv_read_bytes", "kv_written_bytes", "weights_read_bytes"):
                value = np.asarray(getattr(found, field))
                assert np.all(np.isfinite(value) & (value >= 0)), f"{scheme}: {field}"
    except InputError as error:
        return str(error)
    return ""


@each_number
def test_at_its_limits_a_number_gives_an_answer_or_one_line(name: str, key: str, field: FieldInfo) -> None:
    low, high, low_allowed, high_allowed = _limits(field)
    assert math.isfinite(low), f"{name}:{key} has no lower limit"
    assert math.isfinite(high), f"{name}:{key} has no upper limit"
    for value, allowed in ((low, low_allowed), (high, high_allowed)):
        if allowed:
            said = _sane_or_one_line(name, f"{name}:{key}={_written(value)}")
            assert not said or (name in said and "\n" not in said), said


@each_number
@pytest.mark.parametrize("beyond", ["below", "above", "nan", "inf", "words"])
def test_beyond_its_limits_a_number_is_refused_in_one_line(name: str, key: str, field: FieldInfo, beyond: str) -> None:
    low, high, low_allowed, high_allowed = _limits(field)
    value: Any = {
        "below": _written(low - 1 if low_allowed else low),
        "above": _written(high + 1 if high_allowed else high),
        "nan": "nan",
        "inf": "inf",
        "words": "plenty",
    }[beyond]
    with pytest.raises(InputError) as refused:
        parse_stack(f"{name}:{key}={value}")
    said = str(refused.value)
    assert "\n" not in said
    assert said.startswith(f"scheme '{name}:{key}={value}': "), said
    assert key in said.partition("': ")[2], said


@pytest.mark.parametrize("name", [name for name in scheme_names() if name != "none"])
def test_a_budget_or_a_window_above_the_context_is_no_error(name: str) -> None:
    """Whatever counts tokens may exceed the sequence: the answer is then that of the whole sequence."""
    tokens = {"budget", "window", "residual", "tokens", "recent", "local", "document", "horizon", "sinks"}
    keys = [key for key in scheme_class(name).model_fields if key in tokens]
    for key in keys:
        _, high, _, high_allowed = _limits(scheme_class(name).model_fields[key])
        value = min(high if high_allowed else high - 1, 2.0**20)
        said = _sane_or_one_line(name, f"{name}:{key}={_written(value)}")
        assert not said or (name in said and "\n" not in said), said


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ("kivi:residual=100", "scheme 'kivi:residual=100': residual 100 is not a multiple of group 32"),
        ("kivi:group=48", "scheme 'kivi:group=48': residual 128 is not a multiple of group 48"),
        ("snapkv:window=99,budget=50", "scheme 'snapkv:window=99,budget=50': window 99 exceeds budget 50"),
        ("skipdecode:first=0.2,last=0.5",
         "scheme 'skipdecode:first=0.2,last=0.5': last 0.5 exceeds first 0.2: later tokens pass fewer layers"),
    ],
)  # fmt: skip
def test_numbers_that_do_not_go_together(scheme: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_stack(scheme)
    assert str(refused.value) == message
