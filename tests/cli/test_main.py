"""The entry point: exit statuses, one-line errors, help, pipes, interruption and output files."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint, version
from importlib.resources import files
from types import ModuleType

import pytest
import typer

from kvwall.hardware.errors import InputError, NoAnswerError
from kvwall.simulator.cli import main as entry
from kvwall.simulator.cli.output import save

START = "from kvwall.simulator.cli.main import run; run()"


def written(name: str) -> bool:
    return importlib.util.find_spec(f"kvwall.simulator.cli.{name}_command") is not None


@pytest.fixture
def replaced(monkeypatch):
    """Put a function in the place of ``kvwall doctor``."""

    def replace(function):
        module = ModuleType("kvwall.simulator.cli.doctor_command")
        module.command = function
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return replace


def test_version(run):
    assert run("--version") == (0, f"kvwall {version('kvwall')}\n", "")


def test_help_lists_every_command_on_one_line_each(run):
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    for name, summary in entry.COMMANDS.items():
        assert any(line.split() == [name, *summary.split()] for line in lines), name


def test_help_tells_what_each_shipped_plug_in_does_not_where_it_lies(run):
    """A plug-in of kvwall itself has a line of its own; ``from MODULE`` is for those of others."""
    _, out, _ = run("--help")
    assert "from kvwall." not in out


def test_no_arguments_print_the_help(run):
    status, out, _ = run()
    assert status == 0
    assert out.startswith("Usage: kvwall")


@pytest.mark.parametrize("name", entry.COMMANDS)
def test_help_of_each_command(run, name):
    if not written(name):
        pytest.skip(f"{name} does not exist")
    status, out, err = run(name, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"Usage: kvwall {name} ")
    if name != "schema":
        assert "--json" in out


def test_help_of_one_command_imports_no_other():
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['kvwall', 'list', '--help']\ntry:\n    {START}\n"
         "except SystemExit: pass\nprint([n for n in sys.modules if n.endswith('_command')], file=sys.stderr)"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stderr.strip() == "['kvwall.simulator.cli.list_command']"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lisst"], "unknown command 'lisst'; did you mean 'list'? (see kvwall --help)"),
        (["frobnicate"], "unknown command 'frobnicate' (see kvwall --help)"),
        (["show", "device"], "Missing argument 'NAME' (see kvwall show --help)"),
        (["list", "devices", "--jsn"], "No such option: --jsn (Possible options: --json) (see kvwall list --help)"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(run, arguments, message):
    assert run(*arguments) == (2, "", f"kvwall: {message}\n")


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        (InputError("--on 'x': is\nunknown"), 2, "kvwall: --on 'x': is unknown\n"),
        (NoAnswerError("nothing fits: 2 devices would do"), 1, "kvwall: nothing fits: 2 devices would do\n"),
        (KeyboardInterrupt(), 130, "kvwall: interrupted\n"),
        (typer.Abort(), 130, "kvwall: interrupted\n"),
        (OSError(28, "No space left on device", "out.csv"), 2, "kvwall: out.csv: No space left on device\n"),
        (typer.Exit(1), 1, ""),
    ],
)
def test_exit_statuses(run, replaced, raised, status, message):
    def command() -> None:
        raise raised

    replaced(command)
    assert run("doctor") == (status, "", message)


def test_a_broken_plug_in_is_named(run, monkeypatch):
    broken = EntryPoint("heat", "kvwall_heat.cli:heat", "kvwall.commands")
    monkeypatch.setattr(entry, "entry_points", lambda group: [broken])
    message = "command 'heat': kvwall_heat.cli:heat cannot be imported (No module named 'kvwall_heat')"
    assert run("heat") == (2, "", f"kvwall: {message}\n")
    status, out, _ = run("--help")
    assert status == 0
    assert "from kvwall_heat.cli" in out


def test_a_reader_that_leaves_early_is_no_error():
    # The pipe is closed before the command writes, so that the outcome does not depend on its buffer.
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['kvwall', 'list', 'models']; {START}"],
        stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.argv = ['kvwall', 'list', 'models', '--json']; {START}"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "kvwall: output: No space left on device\n")


def test_a_terminal_without_utf8_shows_what_it_can(tmp_path):
    spec = next(path for path in files("kvwall.hardware").joinpath("devices").iterdir() if path.name == "h20-96gb.yaml")
    mine = tmp_path / "mine.yaml"
    mine.write_text(spec.read_text(encoding="utf-8").replace("vendor: nvidia", "vendor: M\u00fcller"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['kvwall', 'show', 'device', {str(mine)!r}]; {START}"],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "M?ller" in done.stdout


def test_an_interrupted_command_leaves_no_half_file(tmp_path, monkeypatch):
    target = tmp_path / "out.json"
    target.write_text("before")

    def interrupted(self, *_args, **_keywords):
        with open(self, "w") as part:
            part.write("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(type(target), "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(target, "after")
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    assert target.read_text() == "before"


def test_an_output_file_is_written_whole(run, tmp_path):
    target = tmp_path / "schema.json"
    assert run("schema", "list", "-o", target) == (0, "", "")
    assert json.loads(target.read_text())["title"] == "ListAnswer"
    assert [path.name for path in tmp_path.iterdir()] == ["schema.json"]


def test_an_output_path_that_cannot_be_written(run, tmp_path):
    missing = tmp_path / "nowhere" / "schema.json"
    message = f"kvwall: {missing}: cannot be written (No such file or directory)\n"
    assert run("schema", "list", "-o", missing) == (2, "", message)
    message = f"kvwall: {tmp_path}: is a folder, expected the name of a file\n"
    assert run("schema", "list", "-o", tmp_path) == (2, "", message)


def test_a_read_only_folder_is_one_line(run, tmp_path, monkeypatch):
    def refused(self, *_args, **_keywords):
        raise PermissionError(13, "Permission denied", str(self))

    # As root no folder is read-only.
    monkeypatch.setattr(type(tmp_path), "write_text", refused)
    target = tmp_path / "schema.json"
    assert run("schema", "list", "-o", target) == (2, "", f"kvwall: {target}: cannot be written (Permission denied)\n")
    assert list(tmp_path.iterdir()) == []
