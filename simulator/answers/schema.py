"""``kvwall schema``: the JSON schema of what a command prints under ``--json``."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

import kvwall.simulator.answers as answers_folder
from kvwall.hardware.errors import InputError, canonical, unknown_name
from kvwall.simulator.answers.base import SCHEMA_VERSION, Answer, kvwall_version

#: The one command whose module is named otherwise, because ``list`` is a word of Python.
_MODULES = {"list": "catalogue"}

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _PrintedWhole(GenerateJsonSchema):
    """A schema in which every key is required: a document is printed with its defaults."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        """Always."""
        return True


def schema(command: str) -> dict[str, Any]:
    """The JSON schema of the document that ``command`` prints, with the four keys that every document carries.

    :param command: ``step``, ``fit``, ... or a command of an installed plug-in
    :raises UnknownNameError: no command with such a document; names the nearest
    """
    made = answer_class(command)
    return {
        "$schema": _DIALECT,
        "schema_version": SCHEMA_VERSION,
        "kvwall_version": kvwall_version(),
        "assumptions": [],
        "warnings": [],
        **made.model_json_schema(mode="serialization", schema_generator=_PrintedWhole),
    }


def answer_class(command: str) -> type[Answer]:
    """The class of the answer of ``command``.

    :raises UnknownNameError: no command with such a document; names the nearest
    :raises InputError: a plug-in whose module has no class ``<Command>Answer``
    """
    name = canonical(command)
    plugged = {canonical(entry.name): entry for entry in entry_points(group="kvwall.commands")}
    if name in plugged:
        module = plugged[name].module
        try:
            found = _class_in(module, name)
        except ImportError as error:
            raise InputError(f"command {name!r}: {module} cannot be imported ({error})") from None
        if found is None:
            raise InputError(f"command {name!r} tells no schema: {module} has no class {_class_name(name)!r}")
        return found
    known = answer_modules()
    if name not in known:
        raise unknown_name("command", command, {*known, *plugged}, "kvwall --help")
    made = _class_in(known[name], name)
    if made is None:
        raise unknown_name("command", command, {*commands_with_schema(), *plugged}, "kvwall --help")
    return made


def answer_modules() -> dict[str, str]:
    """Module of each file of the folder of answers, by the command it would answer."""
    renamed = {module: command for command, module in _MODULES.items()}
    names = [module.name for module in pkgutil.iter_modules(answers_folder.__path__)]
    return {renamed.get(name, name): f"{answers_folder.__name__}.{name}" for name in names}


def commands_with_schema() -> tuple[str, ...]:
    """The commands of kvwall itself that print a document; imports all of them."""
    return tuple(sorted(name for name, module in answer_modules().items() if _class_in(module, name)))


def _class_name(command: str) -> str:
    return f"{command.title()}Answer"


def _class_in(module: str, command: str) -> type[Answer] | None:
    found = getattr(import_module(module), _class_name(command), None)
    return found if isinstance(found, type) and issubclass(found, Answer) else None
