"""Frozen documents and the one reader of YAML and JSON files.

Every description in kvwall (device, model, engine, scenario, ...) is a :class:`Document`: frozen, with no room for an
unknown key. :func:`read_document` turns a file into one and turns every way a file can be wrong into one line that
names the file, the key, the value and what is allowed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kvwall.hardware.errors import InputError
from kvwall.hardware.validation import explain_validation as explain_validation
from kvwall.hardware.validation import shortened

#: No description needs more; larger files are refused before they are parsed.
LARGEST_FILE_BYTES = 2_000_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Document(BaseModel):
    """A frozen description; unknown keys are errors, and a field may be written with or without its unit suffix."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class Sourced(Document):
    """A block of figures that says where they are from."""

    source: str = Field(min_length=1)


D = TypeVar("D", bound=Document)


class _StrictLoader(_Loader):  # type: ignore[misc]
    """Safe YAML in which a key that stands twice is an error instead of a silent overwrite."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = str(getattr(key_node, "value", key_node))
            if key in seen:
                problem = f"the key {shortened(key)} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def _short_integer(loader: Any, node: yaml.ScalarNode) -> Any:
    """An integer, unless it has more digits than Python is willing to print in an error."""
    if len(node.value) > 1000:
        raise yaml.constructor.ConstructorError(None, None, "a number of thousands of digits", node.start_mark)
    return loader.construct_yaml_int(node)


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _short_integer)

# A date stays the text that was written: every date here is for people to read. So does ``on``, which is a word here;
# true and false alone are truth values, as in YAML 1.2.
_TEXT_TAGS = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool"})
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _TEXT_TAGS]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


class _DuplicateKeyError(Exception):
    """A JSON key that stands twice."""


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateKeyError(next(key for key in keys if keys.count(key) > 1))
    return mapping


def read_text(path: Path, largest_bytes: int = LARGEST_FILE_BYTES) -> str:
    """The text of ``path``; an error for what is missing, a folder, too large, binary or not UTF-8."""
    where = str(path) if len(str(path)) <= 300 else shortened(str(path))
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise InputError(f"{where}: is a folder, expected a file")
        if size > largest_bytes:
            raise InputError(f"{where}: {size:,} bytes is too large (at most {largest_bytes:,})")
        raw = path.read_bytes()
    except (OSError, ValueError) as error:  # a null byte is a ValueError
        raise InputError(f"{where}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if b"\0" in raw:
        raise InputError(f"{where}: is a binary file, expected text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: is not UTF-8 text (byte {error.start})") from None


def parse_mapping(text: str, where: str) -> dict[str, Any]:
    """The mapping that a YAML or JSON ``text`` holds; ``where`` names it in errors."""
    try:
        if text.lstrip().startswith("{"):
            data = json.loads(text, object_pairs_hook=_unique_keys)
        else:
            # An alias lets a few lines unfold into gigabytes, and no description needs one.
            if "*" in text and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, _Loader)):
                raise InputError(f"{where}: YAML aliases (*name) are not allowed")
            data = yaml.load(text, _StrictLoader)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: line {error.lineno}: not JSON ({error.msg})") from None
    except _DuplicateKeyError as error:
        raise InputError(f"{where}: not JSON (the key {shortened(str(error))} stands twice)") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
        if problem.startswith("but "):
            problem = f"{getattr(error, 'context', None) or 'unexpected end'}, {problem}"
        told = " ".join(problem.split())[:150]
        raise InputError(f"{where}: {f'line {mark.line + 1}: ' if mark else ''}not YAML ({told})") from None
    except RecursionError:
        raise InputError(f"{where}: is nested too deeply") from None
    except ValueError as error:
        # Python refuses to read integers of thousands of digits.
        problem = "a number of thousands of digits" if "digits" in str(error) else " ".join(str(error).split())[:150]
        raise InputError(f"{where}: cannot be parsed ({problem})") from None
    if data is None:
        raise InputError(f"{where}: is empty")
    if not isinstance(data, dict):
        raise InputError(f"{where}: expected a mapping of keys to values, found {type(data).__name__}")
    return {str(key): value for key, value in data.items()}


def read_document(path: Path, document: type[D]) -> D:
    """The ``document`` that the YAML or JSON file ``path`` holds.

    :raises InputError: the file cannot be read or parsed, or a key or a value is not allowed
    """
    return validate_mapping(parse_mapping(read_text(path), str(path)), document, str(path))


def validate_mapping(data: Mapping[str, Any], document: type[D], where: str) -> D:
    """``data`` as a ``document``; an error names ``where``, the key, the value and what is allowed."""
    try:
        return document.model_validate(dict(data))
    except ValidationError as error:
        raise InputError(f"{where}: {explain_validation(error, document)}") from None
    except RecursionError:
        raise InputError(f"{where}: is nested too deeply") from None
