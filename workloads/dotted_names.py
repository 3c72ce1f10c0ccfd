"""A library in which a dot counts: opt-1.3b and opt-13b are two models."""

from __future__ import annotations

from functools import cached_property
from typing import TypeVar

from kvwall.hardware.document import Document
from kvwall.hardware.library import Library

D = TypeVar("D", bound=Document)


def dotted(name: str) -> str:
    """``name`` without its case and without ``-``, ``_``, ``/`` and spaces; dots stay."""
    return "".join(character for character in name.lower() if character not in "-_/ ")


class DottedLibrary(Library[D]):
    """A library that first looks for a name with its dots, and without them only when that fails."""

    @cached_property
    def _by_dotted(self) -> dict[str, str]:
        aliases = {dotted(alias): name for name in self.names for alias in self._aliases(name)}
        return aliases | {dotted(name): name for name in self.names}

    def resolve(self, name: str) -> str:
        """The member that ``name`` (or one of its aliases, whatever its case and punctuation) means.

        :raises UnknownNameError: no member has that name; names the nearest one
        """
        if name in self.names:
            return name
        return self._by_dotted.get(dotted(name)) or super().resolve(name)
