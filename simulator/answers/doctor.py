"""``kvwall doctor``: this machine, its GPUs, and what is missing."""

from __future__ import annotations

import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from kvwall.hardware.errors import KvwallError
from kvwall.simulator.answers.base import Answer, Part
from kvwall.simulator.answers.gpus import Gpu, find_gpus
from kvwall.simulator.answers.kinds import count, libraries, library_kinds
from kvwall.simulator.stack import scheme_class, scheme_names

#: What each optional extra is for; extras that are not here are for developers.
_PURPOSES = {
    "dashboard": "the interactive page",
    "gpu": "measuring kernels on this machine",
    "distributed": "sweeps over many machines, Parquet files",
}

#: ``torch>=2.3; extra == "gpu"``
_REQUIREMENT = re.compile(r"""(?P<name>[\w.-]+).*extra\s*==\s*["'](?P<extra>[\w-]+)["']""")


class Extra(Part):
    """One optional package.

    :ivar version: the installed one; ``None`` when missing
    :ivar install: the command that installs it
    """

    name: str
    extra: str
    version: str | None
    needed_for: str
    install: str


class Terminal(Part):
    """Where tables are printed."""

    columns: int
    encoding: str
    utf8: bool


class DoctorAnswer(Answer):
    """This machine.

    :ivar gpus_note: why no GPU is listed, if none is
    :ivar counts: how much of each kind ships with kvwall
    :ivar errors: shipped files that do not load, one line each
    """

    python: str
    platform: str
    extras: tuple[Extra, ...]
    gpus: tuple[Gpu, ...]
    gpus_note: str
    counts: dict[str, int]
    errors: tuple[str, ...]
    terminal: Terminal

    @property
    def says_no(self) -> str | None:
        """What of the shipped data does not load."""
        if not self.errors:
            return None
        verb = "does" if len(self.errors) == 1 else "do"
        return f"{len(self.errors)} of the shipped files {verb} not load: reinstall kvwall (first: {self.errors[0]})"


def doctor() -> DoctorAnswer:
    """Look at this machine; starts ``nvidia-smi`` and imports no optional package."""
    gpus, note = find_gpus()
    return DoctorAnswer(
        python=platform.python_version(),
        platform=platform.platform(),
        extras=tuple(_extras()),
        gpus=gpus,
        gpus_note=note,
        counts={
            **{plural: count(plural) for plural in library_kinds()},
            "schemes": len(scheme_names()),
        },
        errors=tuple(_errors()),
        terminal=_terminal(),
        warnings=tuple(f"{gpu.name}: {gpu.note}" for gpu in dict.fromkeys(gpus) if gpu.note),
    )


def _extras() -> Iterator[Extra]:
    """The optional packages, as this installation's own metadata lists them."""
    for requirement in requires("kvwall") or ():
        found = _REQUIREMENT.match(requirement)
        if found and found["extra"] in _PURPOSES:
            yield Extra(
                name=found["name"],
                extra=found["extra"],
                version=_installed(found["name"]),
                needed_for=_PURPOSES[found["extra"]],
                install=f"pip install 'kvwall[{found['extra']}]'",
            )


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _errors() -> Iterator[str]:
    """One line for each shipped description or scheme that does not load."""
    for known in (known for plural in library_kinds() for known in libraries(plural)):
        for name in known.names:
            try:
                known.load(name)
            except KvwallError as error:
                yield str(error)
    for name in scheme_names():
        try:
            scheme_class(name)
        except (ImportError, AttributeError, StopIteration, KvwallError) as error:
            yield f"scheme {name!r}: {type(error).__name__}: {error}"


def _terminal() -> Terminal:
    encoding = (getattr(sys.stdout, "encoding", None) or "unknown").lower()
    utf8 = encoding.replace("-", "") == "utf8"
    return Terminal(columns=shutil.get_terminal_size((100, 24)).columns, encoding=encoding, utf8=utf8)
