"""``kvwall solve``: the fixed keys, the exit status of never, and a table of every change."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

Run = Callable[..., tuple[int, str, str]]

ASKED = ("solve", "llama-3.1-8b", "--on", "h100")
KEYS = {
    "schema_version", "kvwall_version", "assumptions", "warnings", "model", "on", "scheme", "unknown", "unit", "asked",
    "answer", "answer_band", "roots", "binding", "never_because", "range", "checked",
}  # fmt: skip


def test_json_is_one_document_of_the_fixed_keys(run: Run) -> None:
    status, stdout, stderr = run(*ASKED, "--for", "context", "--target", "tpot_ms<=20", "--batch", 16, "--json")
    assert (status, stderr) == (0, "")
    answer = json.loads(stdout)
    assert set(answer) == KEYS
    assert set(answer["roots"][0]) == {"value", "binding", "bound_by", "met"}
    assert answer["answer"] == answer["roots"][0]["value"] == int(answer["answer"])
    assert (answer["binding"], answer["never_because"], answer["unit"]) == ("tpot_ms<=20", None, "tokens")


def test_never_is_status_1_and_a_whole_document(run: Run) -> None:
    status, stdout, stderr = run(*ASKED, "--for", "batch", "--target", "tpot_ms<=1", "--json")
    answer = json.loads(stdout)
    assert status == 1
    assert set(answer) == KEYS
    assert (answer["answer"], answer["roots"], answer["binding"]) == (None, [], None)
    assert stderr == ""
    assert run(*ASKED, "--for", "batch", "--target", "tpot_ms<=1")[2] == f"kvwall: no: {answer['never_because']}\n"


def test_the_table_has_the_answer_and_every_change(run: Run) -> None:
    status, stdout, _ = run(*ASKED, "--for", "context", "--between", "fp8;kivi:bits=2", "--batch", 16)
    lines = stdout.splitlines()
    assert status == 0
    assert lines[0] == "context for fp8;kivi:bits=2: llama-3.1-8b on h100 (fp8;kivi:bits=2)"
    assert lines[1].endswith(" tokens, binding: equal step times")
    assert lines[2].startswith("there: step_ms of fp8 ")
    assert "every change" in lines
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--for", "batch"], "--target, --between: give one of them, as in --target 'tpot_ms<=50'"),
        (["--target", "tpot_ms<=5"], "Missing option '--for' (see kvwall solve --help)"),
        (["--for", "batch", "--target", "memry"], "--target 'memry': write MEASURE<=NUMBER, as in tpot_ms<=50, or mem"),
    ],
)
def test_bad_input_is_one_line(run: Run, options: list[str], message: str) -> None:
    status, stdout, stderr = run(*ASKED, *options)
    assert (status, stdout, stderr.count("\n")) == (2, "", 1)
    assert stderr.startswith(f"kvwall: {message}")
