"""Refusals of the command line: one line on stderr, nothing on stdout, exit status 2."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from kvwall.simulator.cli.main import main

Refusal = Callable[[str], str]


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Refusal:
    """``refusal("step llama-3.1-8b --on h10o")`` as the line that refuses it, without the program's name."""

    def refused(command: str) -> str:
        status = main(shlex.split(command))
        captured = capsys.readouterr()
        assert (status, captured.out) == (2, ""), command
        assert captured.err.startswith("kvwall: ")
        assert captured.err.count("\n") == 1
        return captured.err.removeprefix("kvwall: ").removesuffix("\n")

    return refused
