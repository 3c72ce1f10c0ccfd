"""Frozen documents and the one reader of YAML and JSON files.

Every description in kvwall (device, model, engine, scenario, ...) is a :class:`Document`: frozen, with no room for an
unknown key. :func:`read_document` turns a file into one and turns every way a file can be wrong into one line that
names the file, the key, the value and what is allowed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kvwall.hardware.errors import InputError, suggestion

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
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


# A date stays the text that was written: every date here is for people to read.
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


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
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise InputError(f"{path}: is a folder, expected a file")
        if size > largest_bytes:
            raise InputError(f"{path}: {size:,} bytes is too large (at most {largest_bytes:,})")
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    if b"\0" in raw:
        raise InputError(f"{path}: is a binary file, expected text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start})") from None


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
        raise InputError(f"{where}: not JSON (the key {str(error)!r} stands twice)") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
        if problem.startswith("but "):
            problem = f"{getattr(error, 'context', None) or 'unexpected end'}, {problem}"
        raise InputError(f"{where}: {f'line {mark.line + 1}: ' if mark else ''}not YAML ({problem})") from None
    except (RecursionError, ValueError) as error:
        raise InputError(f"{where}: not YAML ({type(error).__name__}: {str(error)[:80]})") from None
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


#: What pydantic says in the terms of Python, said in the terms of a YAML file.
_PLAIN = {
    "model_type": "expected keys and values",
    "model_attributes_type": "expected keys and values",
    "dict_type": "expected keys and values",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "string_type": "expected text",
    "string_too_short": "must not be empty",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
}


def _limit(problem: Mapping[str, Any]) -> Any:
    context: Mapping[str, Any] = problem.get("ctx", {})
    return context.get("ge", context.get("le"))


def explain_validation(error: ValidationError, document: type[BaseModel]) -> str:
    """The first problem of a pydantic ``error`` as one line; says how many more there are."""
    problems = error.errors(include_url=False)
    first = problems[0]
    location = [part for part in first["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    key = ".".join(str(part) for part in location) or "the document"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        allowed = sorted(field_names(model_at(document, location[:-1])))
        listing = f" (allowed: {', '.join(allowed)})" if allowed else ""
        return f"unknown key {key!r}{suggestion(str(location[-1]), allowed)}{listing}{more}"
    if first["type"] == "missing":
        return f"missing key {key!r}{more}"
    message = _PLAIN.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    if first["type"] in ("greater_than_equal", "less_than_equal"):
        message = f"expected {'at least' if first['type'] == 'greater_than_equal' else 'at most'} {_limit(first)}"
    value = repr(first.get("input"))
    shown = "" if value in message or len(value) > 60 else f" (found {value})"
    return f"{key}: {message}{shown}{more}"


def field_names(model: type[BaseModel] | None) -> list[str]:
    """The keys a document of class ``model`` may hold, as people write them."""
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def model_at(model: type[BaseModel] | None, location: list[int | str]) -> type[BaseModel] | None:
    """The class of the sub-document of ``model`` at ``location``, if it can be told."""
    for part in location:
        if model is None or isinstance(part, int):
            continue
        by_key = {field.alias or name: field for name, field in model.model_fields.items()}
        by_key |= dict(model.model_fields)
        if part not in by_key:  # the tag of a union
            continue
        model = _document_class(by_key[part].annotation, location)
    return model


def _document_class(annotation: Any, location: list[int | str]) -> type[BaseModel] | None:
    """The document class inside ``annotation`` (optional, tuple or tagged union)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    candidates = [_document_class(argument, location) for argument in getattr(annotation, "__args__", ())]
    found = [candidate for candidate in candidates if candidate is not None]
    for candidate in found:
        kind = candidate.model_fields.get("kind")
        if kind is not None and any(part in getattr(kind.annotation, "__args__", ()) for part in location):
            return candidate
    return found[0] if found else None
