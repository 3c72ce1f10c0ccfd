"""Ctrl-C and a closed pipe: a status of their own, one line at most, never a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kvwall.simulator.cli import main as entry

_SLOW = [sys.executable, "-c", "from kvwall.simulator.cli.main import run; run()"]


def test_an_interrupt_while_pricing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kvwall.simulator.cli.step_command.resolve", interrupted)
    assert entry.main(["step", "llama-3.1-8b", "--on", "h100", "--json"]) == 130
    assert capsys.readouterr() == ("", "kvwall: interrupted\n")


def test_an_interrupt_while_writing_leaves_no_half_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    assert entry.main(["schema", "step", "-o", str(tmp_path / "schema.json")]) == 130
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_of_the_process() -> None:
    command = [*_SLOW, "step", "llama-3.1-8b", "--on", "h100", "--batch", "1..30", "--context", "1..10", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # The answer is larger than a pipe holds: the process waits for a reader while it is interrupted.
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "kvwall: interrupted\n")


def test_a_reader_who_has_seen_enough() -> None:
    command = [*_SLOW, "step", "llama-3.1-8b", "--on", "h100", "--batch", "1..30", "--context", "1..10", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr is not None
        stderr = process.stderr.read()
    assert (process.returncode, stderr) == (0, "")
