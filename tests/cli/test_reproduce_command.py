"""``kvwall reproduce``: the fixed keys of a row, a table a system, and a system that is not known."""

from __future__ import annotations

import json
from collections.abc import Callable

Run = Callable[..., tuple[int, str, str]]

ROW = {"id", "system", "published", "predicted", "unit", "ratio", "verdict", "note"}
VERDICTS = {"reproduced", "close", "off", "not predictable"}


def test_help(run: Run) -> None:
    status, stdout, stderr = run("reproduce", "--help")
    assert (status, stderr) == (0, "")
    assert stdout.startswith("Usage: kvwall reproduce ")
    assert "--system" in stdout
    assert "--json" in stdout


def test_json_is_one_document_whose_verdicts_are_those_of_its_rows(run: Run) -> None:
    status, stdout, _ = run("reproduce", "--system", "palu", "--json")
    answer = json.loads(stdout)
    assert status == 0
    assert {"schema_version", "kvwall_version", "rows", "verdicts"} <= set(answer)
    assert all(set(row) >= ROW for row in answer["rows"])
    found = [row["verdict"] for row in answer["rows"]]
    assert set(found) <= VERDICTS
    assert {name: found.count(name) for name in set(found)} == {k: n for k, n in answer["verdicts"].items() if n}


def test_the_table_is_followed_by_the_count(run: Run) -> None:
    status, stdout, _ = run("reproduce", "--system", "palu")
    assert status == 0
    rows = json.loads(run("reproduce", "--system", "palu", "--json")[1])["rows"]
    assert f"{len(rows)} published results: " in stdout


def test_an_unknown_system_is_one_line_with_the_nearest_name(run: Run) -> None:
    status, stdout, stderr = run("reproduce", "--system", "paluu")
    assert (status, stdout, stderr.count("\n")) == (2, "", 1)
    assert "alu" in stderr.split("did you mean")[1]
