"""The entry point of ``kvwall``: finds the command, imports only that, and turns refusals into one line.

Further commands come from the entry-point group ``kvwall.commands``; each entry is a function that typer can turn into
a command.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any

import typer

from kvwall.hardware.errors import InputError, KvwallError, NoAnswerError, suggestion

#: Commands of this package: the module ``kvwall.simulator.cli.<name>`` holds a function ``command``.
COMMANDS: dict[str, str] = {
    "plan": "choose split, formats, scheme and batch for a workload",
    "need": "memory that a model and its users need, on no device in particular",
    "fit": "what fits: weights, reserve, cache, tokens, sequences",
    "step": "how long a step takes, what it moves, what it costs",
    "compare": "the same step under several schemes",
    "explain": "every term of a step with its equation, numbers and reference",
    "reconcile": "read an engine's start-up log and explain predicted against actual",
    "diff": "two answers side by side",
    "list": "devices, models, schemes, weights, engines, systems, scenarios",
    "show": "what is known of one of them",
    "schema": "the JSON schema of a command's answer",
    "doctor": "this machine, its GPUs, and what is missing",
}


def run(arguments: Sequence[str] | None = None) -> None:
    """Run ``kvwall`` and leave with its exit status: 0 answered, 1 the answer is no, 2 bad input, 130 interrupted."""
    sys.exit(main(list(sys.argv[1:] if arguments is None else arguments)))


def main(arguments: list[str]) -> int:
    """Run ``kvwall`` with ``arguments`` and return its exit status."""
    try:
        command = typer.main.get_command(_application(arguments))
        result = command(args=arguments or ["--help"], prog_name="kvwall", standalone_mode=False)
        sys.stdout.flush()
    except NoAnswerError as refusal:
        return _complain(str(refusal), 1)
    except KvwallError as error:
        return _complain(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", 130)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _complain(f"{error.filename or 'output'}: {error.strerror or error}", 2)
    except typer.BadParameter.__mro__[2] as error:  # every usage error of the option parser
        return _complain(" ".join(error.format_message().split()), 2)
    return result if isinstance(result, int) else 0


def _complain(message: str, status: int) -> int:
    sys.stderr.write(f"kvwall: {' '.join(message.split())}\n")
    return status


def _application(arguments: Sequence[str]) -> typer.Typer:
    """The application in which only the command of ``arguments`` is imported; the others are their one-line help."""
    plugged = {entry.name: entry for entry in entry_points(group="kvwall.commands")}
    asked = arguments[0] if arguments else ""
    known = {*COMMANDS, *plugged}
    if asked and not asked.startswith("-") and asked not in known:
        raise InputError(f"unknown command {asked!r}{suggestion(asked, known)} (see kvwall --help)")
    application = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help="What a KV cache costs: what fits, how fast it runs, what to choose, and why.",
    )
    application.callback()(_version)
    for name, summary in COMMANDS.items():
        function = importlib.import_module(f"kvwall.simulator.cli.{name}_command").command if name == asked else _unused
        application.command(name, short_help=summary, help=summary if function is _unused else None)(function)
    for name, entry in plugged.items():
        function = entry.load() if name == asked else _unused
        application.command(name, short_help=PLUGGED_HELP.get(name, f"from {entry.value.split(':')[0]}"))(function)
    return application


#: One-line help of the commands that ship with kvwall but live above this package.
PLUGGED_HELP = {"audit": "predicted KV capacity against what real engines printed"}


def _unused() -> None:
    """A command that was not asked for."""


def _show_version(asked: bool) -> None:
    if asked:
        from kvwall.simulator.answers.base import kvwall_version

        typer.echo(f"kvwall {kvwall_version()}")
        raise typer.Exit


def _version(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="print the version"),
) -> None:
    pass


Command = Callable[..., Any]
