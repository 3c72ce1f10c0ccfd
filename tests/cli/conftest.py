"""Running the command line inside the test process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kvwall.simulator.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("step", "llama-3.1-8b", "--on", "h100")`` as ``(exit status, stdout, stderr)``."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call
