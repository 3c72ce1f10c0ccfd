"""Every way a file can be wrong ends in one line that names the file and the key."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from kvwall.hardware.document import Document, Sourced, parse_mapping, read_document, validate_mapping
from kvwall.hardware.errors import InputError
from kvwall.hardware.quantity import BytesPerSecond


class Engine(Sourced):
    speed_bytes_per_s: BytesPerSecond = Field(alias="speed")
    count: int = Field(1, ge=1)


class Car(Document):
    name: str
    engine: Engine
    tags: tuple[str, ...] = ()
    electric: bool = False


GOOD: dict[str, Any] = {"name": "x", "engine": {"speed": "3 TB/s", "source": "its maker"}}


def with_value(path: str, value: Any) -> dict[str, Any]:
    data = {**GOOD, "engine": dict(GOOD["engine"])}
    target = data
    *folders, key = path.split(".")
    for folder in folders:
        target = target[folder]
    if value is ...:
        del target[key]
    else:
        target[key] = value
    return data


def test_a_document_is_frozen_and_may_be_written_with_or_without_the_unit_suffix() -> None:
    car = validate_mapping(GOOD, Car, "car.yaml")
    assert car.engine.speed_bytes_per_s == 3e12
    long_form = {"name": "x", "engine": {"speed_bytes_per_s": 3e12, "source": "its maker"}}
    assert validate_mapping(long_form, Car, "car.yaml") == car
    with pytest.raises(ValueError, match="frozen"):
        car.name = "y"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("nmae", "y", "unknown key 'nmae'; did you mean 'name'? (allowed: electric, engine, name, tags)"),
        (
            "engine.sped",
            "y",
            "unknown key 'engine.sped'; did you mean 'speed'? (allowed: count, source, speed)",
        ),
        ("engine.speed", ..., "missing key 'engine.speed'"),
        ("engine", ..., "missing key 'engine'"),
        ("engine.source", "", "engine.source: must not be empty (found '')"),
        ("engine", "fast", "engine: expected keys and values (found 'fast')"),
        ("engine.count", 0, "engine.count: expected at least 1 (found 0)"),
        ("engine.count", "many", "engine.count: expected a whole number (found 'many')"),
        ("tags", "red", "tags: expected a list (found 'red')"),
        ("tags", [3090], "tags.0: expected text (found 3090)"),
        ("electric", "maybe", "electric: expected true or false (found 'maybe')"),
        (
            "engine.speed",
            "3.35 TB",
            "engine.speed: '3.35 TB' has the unit 'B', expected 'B/s' as in '3.35 TB/s'",
        ),
        ("engine.speed", 0, "engine.speed: 0 is outside 100000 to 1e+16 B/s; write for example '3.35 TB/s'"),
    ],
)
def test_a_wrong_key_or_value(path: str, value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        validate_mapping(with_value(path, value), Car, "car.yaml")
    assert str(caught.value) == f"car.yaml: {message}"


def test_further_problems_are_counted() -> None:
    with pytest.raises(InputError) as caught:
        validate_mapping({}, Car, "car.yaml")
    assert str(caught.value) == "car.yaml: missing key 'name' (and 1 more)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("- a\n", "expected a mapping of keys to values, found list"),
        ("a: 1\na: 2", "line 2: not YAML (the key 'a' stands twice)"),
        ("a: {b: 1, b: 2}", "line 1: not YAML (the key 'b' stands twice)"),
        ('{"a": 1, "a": 2}', "not JSON (the key 'a' stands twice)"),
        ('{"a": }', "line 1: not JSON (Expecting value)"),
        ("a: b: c", "line 1: not YAML (mapping values are not allowed in this context)"),
        ("a: 1\n---\nb: 2", "line 2: not YAML (expected a single document in the stream, but found another document)"),
        (
            "a: !run x",
            "line 1: not YAML (could not determine a constructor for the tag '!run')",
        ),
        ("a: &x [1]\nb: [*x, *x]", "YAML aliases (*name) are not allowed"),
        ("a: " + "[" * 100_000, "line 1: not YAML (exceeded maximum nesting depth)"),
    ],
)
def test_text_that_holds_no_mapping(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_mapping(text, "car.yaml")
    assert str(caught.value) == f"car.yaml: {message}"


def test_deeply_nested_json_is_refused() -> None:
    with pytest.raises(InputError, match=r"^car.yaml: is nested too deeply$"):
        parse_mapping('{"a":' * 100_000, "car.yaml")


def test_a_star_that_is_no_alias_is_allowed() -> None:
    assert parse_mapping("a: 2 * 3", "car.yaml") == {"a": "2 * 3"}


def test_a_date_stays_text() -> None:
    assert parse_mapping("as_of: 2026-11-09", "car.yaml") == {"as_of": "2026-11-09"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\1\2", "is a binary file, expected text"),
        (b"name: caf\xe9", "is not UTF-8 text (byte 9)"),
        ("name: x".encode("utf-16"), "is a binary file, expected text"),
        (b"", "is empty"),
        (b"name: x\nengine:\n  speed: 3 TB/s\n  sou", "line 5: not YAML (could not find expected ':')"),
    ],
)
def test_a_file_that_is_no_document(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "car.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_document(path, Car)
    assert str(caught.value) == f"{path}: {message}"


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "car.yaml"
    path.touch()
    os.truncate(path, 100_000_000)
    with pytest.raises(InputError) as caught:
        read_document(path, Car)
    assert str(caught.value) == f"{path}: 100,000,000 bytes is too large (at most 2,000,000)"


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_document(tmp_path, Car)
    assert str(caught.value) == f"{tmp_path}: is a folder, expected a file"
    missing = tmp_path / "none.yaml"
    with pytest.raises(InputError) as caught:
        read_document(missing, Car)
    assert str(caught.value) == f"{missing}: cannot be read (No such file or directory)"


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "car.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: x\nengine: {speed: 3 TB/s, source: its maker}\n")
    assert read_document(path, Car).name == "x"
