"""What is wrong with a document, told in one line: the key, the value, what is allowed and the nearest name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from kvwall.hardware.errors import suggestion

#: What pydantic says in the terms of Python, said in the terms of a YAML file.
_PLAIN = {
    "model_type": "expected keys and values",
    "model_attributes_type": "expected keys and values",
    "dict_type": "expected keys and values",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "string_type": "expected text",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_parsing_size": "expected a whole number of fewer digits",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "union_tag_not_found": "has no 'kind'",
}

#: Words for the limits of a number, by the name pydantic gives them.
_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}

#: Parts of a location that name a validator or a branch of a union instead of a key.
_NO_KEY = re.compile(r"function-|constrained-|literal\[|(float|int|str|bool|none)$")


def shortened(value: Any, longest: int = 60) -> str:
    """``value`` as an error shows it: one line of at most ``longest`` characters."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number of thousands of digits"
    except RecursionError:
        return "something nested too deeply"
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def explain_validation(error: ValidationError, document: type[BaseModel]) -> str:
    """The most telling problem of a pydantic ``error`` as one line; says how many more there are.

    An unknown key comes first, because it is often the misspelt one that is then missing. The branches of a union are
    one problem.
    """
    by_key: dict[tuple[int | str, ...], list[Any]] = {}
    for problem in error.errors(include_url=False):
        by_key.setdefault(_keys(problem["loc"], document), []).append(problem)
    location, problems = next(
        (item for item in by_key.items() if item[1][0]["type"] == "extra_forbidden"), next(iter(by_key.items()))
    )
    first = problems[0]
    key = ".".join(_written(part) for part in location)
    more = f" (and {len(by_key) - 1} more)" if len(by_key) > 1 else ""
    if first["type"] == "extra_forbidden":
        allowed = sorted(field_names(model_at(document, list(first["loc"][:-1]))))
        listing = f" (allowed: {', '.join(allowed)})" if allowed else ""
        return f"unknown key '{key}'{suggestion(str(location[-1]), allowed)}{listing}{more}"
    if first["type"] == "missing":
        return f"missing key '{key}'{more}"
    message = " or ".join(dict.fromkeys(_told(problem) for problem in problems)).replace(" or expected ", " or ")
    if not key:  # a check of several keys against each other names them itself
        return f"{message}{more}"
    value = shortened(first["input"], 61)
    told = first["type"] == "value_error" and value in message
    shown = "" if told or len(value) > 60 else f" (found {value})"
    return f"{key}: {message}{shown}{more}"


def _keys(location: Sequence[int | str], document: type[BaseModel]) -> tuple[int | str, ...]:
    """``location`` without what is no key of the file."""
    fields = set(field_names(document))
    return tuple(part for part in location if not isinstance(part, str) or part in fields or not _NO_KEY.match(part))


def _written(part: int | str) -> str:
    """A part of a location as text of one line, whatever the file holds for a key."""
    text = str(part)
    return text if text.isprintable() and len(text) <= 60 else shortened(text)[1:-1]


def _told(problem: Mapping[str, Any]) -> str:
    """What is wrong with one value, in the words of who wrote it."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "literal_error":
        # An option of a scheme may be written as text or as a number: each is named once.
        values = re.findall(r"'([^']*)'|(\S+?)(?=,|$| or )", context["expected"])
        names = list(dict.fromkeys(text or number for text, number in values if (text or number) != "or"))
        listed = names if all(re.fullmatch(r"[0-9.]+", name) for name in names) else [repr(name) for name in names]
        wanted = f"{', '.join(listed[:-1])} or {listed[-1]}" if len(listed) > 1 else listed[0]
        given = problem["input"]
        return f"expected {wanted}{suggestion(given, names) if isinstance(given, str) else ''}"
    if kind == "union_tag_invalid":
        return f"unknown kind {shortened(context['tag'])} (allowed: {context['expected_tags']})"
    for limit, words in _LIMITS.items():
        if limit in context:
            bound = context[limit]
            return f"expected {words} {f'{bound:g}' if isinstance(bound, float) else bound}"
    message = _PLAIN.get(kind) or problem["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    return " ".join(message.split())


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
