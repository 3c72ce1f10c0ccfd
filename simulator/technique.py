"""Published systems that are no scheme of a cache: what each is, and how to ask kvwall about it."""

from __future__ import annotations

from pydantic import Field

from kvwall.hardware.document import Document
from kvwall.hardware.library import Library


class Technique(Document):
    """A system that is an option, a model, a kernel or a machine rather than a scheme.

    :ivar ask: the options or the command that ask for it
    :ivar equations: what it costs, as kvwall computes it
    :ivar limits: what is not modelled
    """

    name: str
    aliases: tuple[str, ...] = ()
    title: str
    ask: str
    equations: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    source: str = Field(min_length=1)


TECHNIQUES = Library("kvwall.simulator", "techniques", "technique", Technique)
