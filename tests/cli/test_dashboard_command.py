"""``kvwall dashboard``: the exported file beside one JSON document, and what it refuses."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str, str]]


def test_json_tells_the_file_that_was_written(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    status, stdout, _ = run("dashboard", "--export", file, "--json")
    answer = json.loads(stdout)
    assert status == 0
    assert {"schema_version", "kvwall_version", "views", "address", "file", "bytes"} <= set(answer)
    assert (answer["file"], answer["bytes"], answer["address"]) == (str(file), file.stat().st_size, None)
    page = file.read_text(encoding="utf-8")
    assert all(view in page for view in answer["views"])
    assert answer["views"]


def test_an_export_into_nowhere_is_one_line(run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "page.html"
    told = f"kvwall: --export {missing}: its folder does not exist\n"
    assert run("dashboard", "--export", missing) == (2, "", told)
    assert run("dashboard", "--export", tmp_path) == (2, "", f"kvwall: --export {tmp_path}: is a folder\n")


def test_a_port_that_is_taken_is_one_line(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, stdout, stderr = run("dashboard", "--port", port)
    assert (status, stdout, stderr.count("\n")) == (2, "", 1)
    assert stderr.startswith(f"kvwall: --port {port}: cannot be used (")


def test_an_unknown_scenario_is_one_line(run: Run) -> None:
    status, stdout, stderr = run("dashboard", "no-such-scenario")
    assert (status, stdout, stderr.count("\n")) == (2, "", 1)
    assert "no-such-scenario" in stderr
