"""The entry point of ``kvwall``: finds the command, imports only that, and turns refusals into one line.

Further commands come from the entry-point group ``kvwall.commands``; each entry is a function that typer can turn into
a command.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from io import TextIOWrapper
from typing import Any

import typer

from kvwall.hardware.errors import InputError, KvwallError, NoAnswerError, suggestion

Command = Callable[..., Any]

#: Commands of this package: the module ``kvwall.simulator.cli.<name>`` holds a function ``command``.
COMMANDS: dict[str, str] = {
    "plan": "choose split, formats, scheme and batch for a workload",
    "need": "memory that a model and its users need, on any device",
    "fit": "what fits: weights, reserve, cache, tokens, sequences",
    "step": "how long a step takes, what it moves, what it costs",
    "compare": "the same step under several schemes",
    "solve": "the context, batch, bandwidth or price that just meets a target",
    "sweep": "a whole study as a table of Parquet",
    "dashboard": "the interactive page, or the same as one file",
    "explain": "every term of a step: equation, numbers, reference",
    "reconcile": "an engine's start-up log against the prediction",
    "predict": "the time of every row of a table of kernels or serving results",
    "agree": "predictions against measurements: error, bias, coverage",
    "diff": "two answers side by side, term by term",
    "list": "devices, models, schemes and all else known by name",
    "show": "everything known of one of them, with sources",
    "schema": "the JSON schema of a command's answer",
    "doctor": "this machine, its GPUs, and what is missing",
}

#: Exit status after Ctrl-C, as shells count it: 128 + SIGINT.
_INTERRUPTED = 130

#: Below the list of commands.
_EPILOG = (
    "Try kvwall plan, or kvwall fit llama-3.1-70b --on h100:8 --context 32k. Every command prints JSON with --json."
)

#: Every usage error of the option parser; typer gives its base class no public name.
_UsageError: Any = typer.BadParameter.__mro__[2]


def run(arguments: Sequence[str] | None = None) -> None:
    """Run ``kvwall`` and leave with its exit status: 0 answered, 1 the answer is no, 2 bad input, 130 interrupted."""
    gc.set_threshold(50_000)  # a command is over long before reference cycles add up
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal of another encoding shows what it can
        sys.stdout.reconfigure(errors="replace")
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
        return _complain("interrupted", _INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _complain(f"{error.filename or 'output'}: {error.strerror or error}", 2)
    except _UsageError as error:
        from kvwall.simulator.cli.usage import explain_usage  # brings pydantic, which --help can do without

        asked = f"kvwall {arguments[0]}" if arguments and not arguments[0].startswith("-") else "kvwall"
        return _complain(f"{explain_usage(error, arguments)} (see {asked} --help)", 2)
    if result == _INTERRUPTED:  # the option parser turns Ctrl-C into a status of its own
        return _complain("interrupted", _INTERRUPTED)
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
        epilog=_EPILOG,
    )
    application.callback()(_version)
    for name, summary in COMMANDS.items():
        function = importlib.import_module(f"kvwall.simulator.cli.{name}_command").command if name == asked else _unused
        application.command(name, short_help=summary, help=summary if function is _unused else None)(function)
    for name, entry in plugged.items():
        function = _load(entry) if name == asked else _unused
        application.command(name, short_help=PLUGGED_HELP.get(name, f"from {entry.value.split(':')[0]}"))(function)
    return application


def _load(entry: EntryPoint) -> Command:
    """The function of a plugged command; a plug-in that is broken or half removed is bad input, not a traceback."""
    try:
        function: Command = entry.load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"command {entry.name!r}: {entry.value} cannot be imported ({error})") from None
    return function


#: One-line help of the commands that ship with kvwall but live above this package.
PLUGGED_HELP = {
    "audit": "predicted KV capacity against what real engines printed",
    "measure": "time the real kernels of this machine, for kvwall calibrate",
    "calibrate": "fit kernels or an engine to measured times, with held-out error",
    "reproduce": "published results beside their predictions",
}


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
