"""Random edits of everything kvwall reads: the outcome is a valid document or one line that refuses it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvwall.hardware.calibration import CALIBRATIONS
from kvwall.hardware.device import DEVICES
from kvwall.hardware.document import parse_mapping, read_document, validate_mapping
from kvwall.hardware.engine import ENGINES
from kvwall.hardware.engine_version import find_engine
from kvwall.hardware.errors import KvwallError
from kvwall.hardware.library import Library, split_count
from kvwall.hardware.system import NODES
from kvwall.simulator.adapters import parse_adapters
from kvwall.simulator.inquiry import pool
from kvwall.simulator.overrides import overridden, parse_overrides
from kvwall.simulator.speculation import parse_speculation
from kvwall.simulator.stack import parse_stack, scheme_class, scheme_names
from kvwall.workloads.hf_config import read_hf_config
from kvwall.workloads.model_lookup import find_model
from kvwall.workloads.model_spec import MODELS
from kvwall.workloads.numbers import parse_count, parse_counts, parse_ragged, parse_tokens
from kvwall.workloads.scenario import SCENARIOS
from kvwall.workloads.weight_format import WEIGHTS

#: A busy machine is no failure.
CALM = settings(suppress_health_check=[HealthCheck.too_slow])

LIBRARIES: dict[str, Library[Any]] = {
    "device": DEVICES,
    "system": NODES,
    "engine": ENGINES,
    "calibration": CALIBRATIONS,
    "model": MODELS,
    "weight format": WEIGHTS,
    "scenario": SCENARIOS,
}


def check(reader: Callable[[], object]) -> None:
    """Run ``reader``; anything but an answer or a refusal of one short line is a failure."""
    try:
        reader()
    except KvwallError as error:
        message = str(error)
        assert len(message.splitlines()) == 1, message
        # What is allowed may be long; what the writer did must not be echoed at length.
        assert len(re.sub(r" \(allowed: [^)]*\)", "", message)) < 500, message


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


odd_text = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(codec="utf-8", categories=("Cc", "Cf", "Zl", "Zp", "So", "Nd", "Mn")), max_size=8),
    st.sampled_from(
        ["", " ", "nan", "-inf", "1e999 B", "3.35 TB", "-5 GB/s", "٣ GB", "80 Gb", "0x10", "~", "a" * 5000]
    ),
)
junk = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        odd_text,
        st.sampled_from([0, -1, 10**30, 10**400, 1e308]),
        st.builds(pow, st.just(10), st.just(4000)),
        st.builds(nested, st.sampled_from([3, 50, 200])),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(odd_text, inner, max_size=3)),
    max_leaves=6,
)


def places(data: Any, depth: int = 5) -> Iterator[tuple[Any, Any]]:
    """Every key of every mapping and every position of every list down to ``depth``, as (container, key)."""
    for key in list(data) if isinstance(data, dict) else range(len(data)):
        yield data, key
        if depth and isinstance(data[key], (dict, list)):
            yield from places(data[key], depth - 1)


@st.composite
def edited(draw: st.DrawFn, originals: list[dict[str, Any]]) -> dict[str, Any]:
    """One of ``originals`` after one to three random edits."""
    data = copy.deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        spots = list(places(data))
        if not spots:
            break
        container, key = spots[draw(st.integers(0, len(spots) - 1))]
        edit(draw, container, key)
    return data


def edit(draw: st.DrawFn, container: Any, key: Any) -> None:
    """Change what stands at ``key`` of ``container``, a mapping or a list."""
    action = draw(st.sampled_from(["delete", "replace", "replace", "rename", "repeat", "wrap"]))
    value = container.pop(key)
    place = container.__setitem__ if isinstance(container, dict) else container.insert
    if action == "replace":
        place(key, draw(junk))
    elif action == "rename" and isinstance(container, dict):
        place(draw(odd_text) or f"{key}s", value)
    elif action == "repeat":
        place(key, value)
        place(f"{key}_bytes" if isinstance(container, dict) else key, copy.copy(value))
    elif action == "wrap":
        place(key, draw(st.sampled_from([[value], {str(key): value}])))


@st.composite
def broken(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of the texts ``originals`` cut anywhere, or with bytes put in, taken out or changed."""
    content = draw(st.sampled_from(originals))
    at = draw(st.integers(0, len(content)))
    rest = content[at + draw(st.integers(0, 9)) :]
    middle = draw(st.one_of(st.binary(max_size=6), st.sampled_from(PIECES)))
    return draw(st.sampled_from([content[:at], content[:at] + middle + rest, middle + rest]))


#: What YAML and JSON give a meaning to, and what editors leave behind.
PIECES = (
    b"\n", b"\r", b"\t", b": ", b"- ", b"{", b"[", b'"', b"'", b"&a ", b"*a", b"<<: ", b"!!python/name:os ", b"# ",
    b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"? ", b"---\n", b"%YAML 9\n", b"|\n", b"[" * 2000, b"{" * 2000, b"9" * 5000,
    b"0x" + b"f" * 5000, b"2026-13-45", b"1:2:3", b".nan", b"1e9999", "\u2028\u0085".encode(), b"!!binary =",
)  # fmt: skip


def library_texts(library: Library[Any]) -> list[bytes]:
    return [(library._folder / f"{name}.yaml").read_bytes() for name in library.names[:12]]


@pytest.mark.parametrize("kind", LIBRARIES)
def test_documents_with_edited_keys_and_values(kind: str) -> None:
    library = LIBRARIES[kind]
    originals = [parse_mapping(text.decode(), kind) for text in library_texts(library)]

    @settings(CALM, max_examples=300)
    @given(edited(originals))
    def run(data: dict[str, Any]) -> None:
        check(lambda: validate_mapping(data, library._document, "some.yaml"))

    run()


@pytest.mark.parametrize("kind", LIBRARIES)
def test_documents_with_broken_text(kind: str, tmp_path: Path) -> None:
    library = LIBRARIES[kind]
    path = tmp_path / "some.yaml"

    @settings(CALM, max_examples=150)
    @given(broken(library_texts(library)))
    def run(content: bytes) -> None:
        path.write_bytes(content)
        check(lambda: read_document(path, library._document))

    run()


def configs() -> list[dict[str, Any]]:
    path = Path(__file__).parent / "workloads" / "hf_configs.yaml"
    return list(parse_mapping(path.read_text(encoding="utf-8"), "configs").values())


def test_configs_with_edited_keys_and_values(tmp_path: Path) -> None:
    path = tmp_path / "config.json"

    @settings(CALM, max_examples=800)
    @given(edited(configs()))
    def run(data: dict[str, Any]) -> None:
        try:
            text = json.dumps(data)
        except (RecursionError, ValueError):  # too deep or too long a number for the writer of this test
            return
        path.write_text(text, encoding="utf-8")
        check(lambda: read_hf_config(path))

    run()


def test_configs_with_broken_text(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    texts = [json.dumps(config, indent=1).encode() for config in configs()]

    @settings(CALM, max_examples=300)
    @given(broken(texts))
    def run(content: bytes) -> None:
        path.write_bytes(content)
        check(lambda: read_hf_config(tmp_path))

    run()


@settings(CALM)
@given(st.binary(max_size=200))
def test_random_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.yaml"
    path.write_bytes(content)
    for reader in (find_model, find_engine, DEVICES.load, parse_ragged):
        check(lambda reader=reader: reader(str(path)))  # type: ignore[misc]


_SCHEME_WORDS = [
    *scheme_names(), *{key for name in scheme_names() for key in scheme_class(name).model_fields},
    "+", ":", ",", "=", "auto", "host", "0.5", "2", "-1", "1e400", "9" * 5000, "\n", "٣", "²",
]  # fmt: skip


@settings(CALM, max_examples=500)
@given(st.lists(st.one_of(st.sampled_from(_SCHEME_WORDS), odd_text), max_size=9).map("".join), odd_text | st.none())
def test_stacks(text: str, kv_dtype: str | None) -> None:
    check(lambda: parse_stack(text, kv_dtype))


_NUMBER_WORDS = [
    "8",
    "32k",
    "1m",
    "..",
    "*",
    "+",
    ",",
    "1.5",
    "-",
    "0",
    "9" * 5000,
    "1e9",
    "²",
    "٣",
    " ",
    "k",
    "/",
    ".",
]
number_text = st.lists(st.one_of(st.sampled_from(_NUMBER_WORDS), odd_text), max_size=6).map("".join)


@settings(CALM, max_examples=500)
@given(st.one_of(number_text, junk))
def test_numbers(value: Any) -> None:
    check(lambda: parse_count(value))
    check(lambda: parse_counts(value))
    check(lambda: parse_tokens(value))
    if isinstance(value, str):
        check(lambda: parse_ragged(value))


_OPTION_WORDS = [
    "mtp", "eagle", "ngram", ":", ",", "=", "tokens", "acceptance", "0.8", "3", "8:16", "h100", ":8", "prefill=",
    "decode=", "9" * 5000, "nan", "²", "\n",
]  # fmt: skip


@settings(CALM, max_examples=500)
@given(st.lists(st.one_of(st.sampled_from(_OPTION_WORDS), odd_text), max_size=6).map("".join))
def test_options(text: str) -> None:
    for reader in (parse_speculation, parse_adapters, find_model, find_engine, DEVICES.resolve):
        check(lambda reader=reader: reader(text))  # type: ignore[misc]
    check(lambda: split_count(text, "--on"))
    check(lambda: pool(text, "decode"))
    check(lambda: find_engine("vllm", text))


_PATH_WORDS = [
    "device", "hbm", "bandwidth", "model", "attention", "0", "²", "kv_heads", "engine", "reserve", "system",
    "host_memory", ".", ".", ".", "=", "=", "4 TB/s", "-1", "[]", "{}", "9" * 5000,
]  # fmt: skip
_TARGETS = {
    "device": DEVICES.load("h100"),
    "system": NODES.load("dgx-h100"),
    "engine": find_engine("vllm"),
    "model": MODELS.load("deepseek-v3"),
}


@settings(CALM, max_examples=500)
@given(st.lists(st.one_of(st.sampled_from(_PATH_WORDS), odd_text), max_size=9).map("".join))
def test_overrides(text: str) -> None:
    def change() -> None:
        for target, changes in parse_overrides([text]).items():
            overridden(_TARGETS[target], changes, target)

    check(change)
