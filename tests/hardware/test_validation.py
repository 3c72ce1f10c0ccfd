"""What is wrong with a document: the most telling problem, a union as one, and nothing endless."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from kvwall.hardware.document import Document, validate_mapping
from kvwall.hardware.errors import InputError, KvwallError, suggestion
from kvwall.hardware.validation import field_names, shortened


class Motor(Document):
    kind: Literal["electric", "petrol"] = "electric"
    gears: Literal[4, 5, "auto"] = 4


class Share(Document):
    part: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = 1.0
    weight: float = Field(1.0, gt=0, lt=10)
    seats: int = Field(1, ge=1, le=1_000_000)
    motor: Motor = Motor()
    prices: dict[str, float] = Field(default_factory=dict)
    names: Annotated[tuple[str, ...], Field(min_length=1)] = ("x",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"part": 2}, "part: expected at most 1 or 'auto' (found 2)"),
        ({"part": "half"}, "part: expected a number or 'auto' (found 'half')"),
        ({"part": -0.5}, "part: expected at least 0 or 'auto' (found -0.5)"),
        ({"weight": 0}, "weight: expected above 0 (found 0)"),
        ({"weight": 10}, "weight: expected below 10 (found 10)"),
        ({"weight": float("nan")}, "weight: expected a finite number (found nan)"),
        ({"seats": 2_000_000}, "seats: expected at most 1000000 (found 2000000)"),
        ({"names": []}, "names: must not be empty (found [])"),
        (
            {"motor": {"kind": "electrik"}},
            "motor.kind: expected 'electric' or 'petrol'; did you mean 'electric'? (found 'electrik')",
        ),
        ({"motor": {"gears": 6}}, "motor.gears: expected '4', '5' or 'auto' (found 6)"),
        ({"prices": {"a\nb": "x"}}, "prices.a\\nb: expected a number (found 'x')"),
        ({"part": 2, "weight": 0}, "part: expected at most 1 or 'auto' (found 2) (and 1 more)"),
        (
            {"weight": 0, "nmaes": ["x"]},
            "unknown key 'nmaes'; did you mean 'names'? (allowed: motor, names, part, prices, seats, weight) "
            "(and 1 more)",
        ),
    ],
)
def test_one_line_says_it(data: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        validate_mapping(data, Share, "share.yaml")
    assert str(caught.value) == f"share.yaml: {message}"


@pytest.mark.parametrize("value", [16**6000, "x" * 10_000, {"a": list(range(10_000))}], ids=["digits", "text", "list"])
def test_what_is_endless_is_not_echoed(value: Any) -> None:
    with pytest.raises(InputError) as caught:
        validate_mapping({"seats": value}, Share, "share.yaml")
    assert len(str(caught.value)) < 150


def test_shown_values_are_short_and_always_shown() -> None:
    nested: Any = 1
    for _ in range(5000):
        nested = [nested]
    assert shortened("a\nb") == r"'a\nb'"
    assert shortened("x" * 100) == f"'{'x' * 56}..."
    assert shortened(16**6000) == "a number of thousands of digits"
    assert shortened(nested) == "something nested too deeply"


def test_an_error_is_one_line_whatever_it_holds() -> None:
    assert str(KvwallError("one\ntwo\u2028three")) == "one two three"
    assert str(InputError("key " + "x" * 1000 + " is long")) == f"key {'x' * 100}...{'x' * 60} is long"


def test_nobody_misspells_at_length() -> None:
    assert suggestion("bandwith", ["bandwidth"]) == "; did you mean 'bandwidth'?"
    assert suggestion("bandwith" * 1000, ["bandwidth" * 1000]) == ""


def test_keys_are_named_as_people_write_them() -> None:
    class Memory(Document):
        size_bytes: int = Field(alias="size")
        name: str = ""

    assert field_names(Memory) == ["size", "name"]
    assert field_names(None) == []
