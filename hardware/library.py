"""A folder of YAML files as a registry: the file's name is the name, and nothing else needs an edit."""

from __future__ import annotations

import re
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Generic, TypeVar

from kvwall.hardware.document import Document, parse_mapping, read_document
from kvwall.hardware.errors import InputError, canonical, unknown_name
from kvwall.hardware.validation import shortened

D = TypeVar("D", bound=Document)

#: Top-level lines of a file that hold further names of the same thing.
_ALIAS_KEYS = ("aliases", "hf_id", "name")

#: Endings of a path, where a name could stand as well.
_FILES = (".yaml", ".yml", ".json")


def is_path(name: str) -> bool:
    """Whether ``name`` is the path of a file rather than the name of a member."""
    return name.endswith(_FILES)


def keep_dots(name: str) -> str:
    """``name`` without its case and without ``-``, ``_``, ``/`` and spaces; dots stay."""
    return "".join(character for character in name.lower() if character not in "-_/ ")


class Library(Generic[D]):
    """All documents of one kind that ship with kvwall, by name, by alias or by path.

    :param package: the package that holds the folder, e.g. ``"kvwall.hardware"``
    :param folder: the folder inside it, e.g. ``"devices"``
    :param kind: what a member is called in errors, e.g. ``"device"``
    :param document: the class of a member
    """

    def __init__(self, package: str, folder: str, kind: str, document: type[D]) -> None:
        self.kind = kind
        self._document = document
        self._folder = Path(str(files(package))) / folder
        self._loaded: dict[Path, D] = {}
        self._read: dict[str, tuple[int, D]] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all members, sorted."""
        return tuple(sorted(path.stem for path in self._folder.glob("*.yaml")))

    @cached_property
    def _by_spelling(self) -> dict[str, str]:
        """Members by every spelling: with its dots first (opt-1.3b is not opt-13b), without them where that is free."""
        spellings: dict[str, str] = {}
        for fold in (keep_dots, canonical):
            for name in self.names:
                spellings.setdefault(fold(name), name)
            for name in self.names:
                for alias in self._aliases[name]:
                    spellings.setdefault(fold(alias), name)
        return spellings

    @cached_property
    def _aliases(self) -> dict[str, list[str]]:
        return self.lines(*_ALIAS_KEYS)

    def lines(self, *keys: str) -> dict[str, list[str]]:
        """What stands on the one-line top-level ``keys`` of each member: parsing every file would be slow."""
        starts = tuple(f"{key}:" for key in keys)
        found: dict[str, list[str]] = {name: [] for name in self.names}
        for name in self.names:
            text = (self._folder / f"{name}.yaml").read_text(encoding="utf-8")
            lines = [line for line in text.splitlines() if line.startswith(starts)]
            for value in parse_mapping("\n".join(lines), name).values() if lines else ():
                found[name] += value if isinstance(value, list) else [str(value)]
        return found

    def resolve(self, name: str) -> str:
        """The member that ``name`` (or one of its aliases, whatever its case and punctuation) means.

        The path of a file stands for itself.

        :raises UnknownNameError: no member has that name; names the nearest one
        """
        if name in self.names or is_path(name):
            return name
        found = self._by_spelling.get(keep_dots(name)) or self._by_spelling.get(canonical(name))
        if found is None:
            listed_by = f"kvwall list {self._folder.name}"
            raise unknown_name(self.kind, name, {*self.names, *self._short_aliases}, listed_by)
        return found

    @cached_property
    def _short_aliases(self) -> set[str]:
        return {alias for aliases in self._aliases.values() for alias in aliases if len(alias) < 30}

    def load(self, name: str) -> D:
        """The member called ``name``, or the document in the file of that path."""
        if is_path(name):
            return self._from_file(name)
        path = self._folder / f"{self.resolve(name)}.yaml"
        if path not in self._loaded:
            self._loaded[path] = read_document(path, self._document)
        return self._loaded[path]

    def _from_file(self, name: str) -> D:
        """The document of a file, read once as long as nobody writes to it: tables ask for theirs once a group."""
        path = Path(name)
        try:
            written = path.stat().st_mtime_ns
        except (OSError, ValueError):
            return read_document(path, self._document)  # says what is wrong
        known = self._read.get(name)
        if known is None or known[0] != written:
            known = self._read[name] = (written, read_document(path, self._document))
        return known[1]

    def same(self, first: str, second: str) -> bool:
        """Whether two names mean the same member; files are compared by what they hold, wherever they lie."""
        if first == second or not (is_path(first) or is_path(second)):
            return first == second
        return self.load(first) == self.load(second)

    def all(self) -> dict[str, D]:
        """Every member by name."""
        return {name: self.load(name) for name in self.names}


def split_count(text: str, what: str) -> tuple[str, int]:
    """``"h100:8"`` as ``("h100", 8)``; the count is 1 when left out, also after a path that holds a colon."""
    name, separator, count = text.rpartition(":")
    if not separator or count.endswith(_FILES):
        return text, 1
    if not re.fullmatch(r"[0-9]{1,6}", count) or not 1 <= int(count) <= 100_000:
        raise InputError(
            f"{what} {shortened(text)}: the count {shortened(count)} is not a whole number from 1 to 100000"
        )
    return name, int(count)
