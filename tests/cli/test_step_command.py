"""``kvwall step``: the fixed keys of answer, point and term, ragged batches, and the table."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

Run = Callable[..., tuple[int, str, str]]

ANSWER = {
    "schema_version", "kvwall_version", "assumptions", "warnings", "model", "device", "gpus", "tp", "scheme", "phase",
    "calibration", "points",
}  # fmt: skip
POINT = {
    "batch", "context", "step_s", "ideal_step_s", "tokens_per_s", "bound_by", "fits", "weights_read_bytes",
    "kv_stored_bytes", "kv_read_bytes", "kv_written_bytes", "host_link_bytes", "usd_per_million_tokens",
    "joules_per_token", "terms",
}  # fmt: skip
TERM = {
    "owner", "operator", "name", "resource", "amount", "unit", "alone_s", "charged_s", "share", "equation", "reference",
}  # fmt: skip


def test_json_is_one_document_of_the_fixed_keys(run: Run) -> None:
    status, stdout, stderr = run(
        "step", "llama-3.1-70b", "--on", "h100:8", "--batch", "1,32", "--context", "8k", "--json"
    )
    assert (status, stderr) == (0, "")
    answer = json.loads(stdout)
    assert set(answer) >= ANSWER
    assert [set(point) >= POINT for point in answer["points"]] == [True, True]
    assert all(set(term) == TERM for point in answer["points"] for term in point["terms"])
    assert (answer["gpus"], answer["tp"], answer["phase"], answer["scheme"]) == (8, 8, "decode", "none")


def test_lists_and_ranges_make_the_points(run: Run) -> None:
    _, stdout, _ = run("step", "llama-3.1-8b", "--on", "h100", "--batch", "1..8*2", "--context", "1k,8k", "--json")
    points = [(point["batch"], point["context"]) for point in json.loads(stdout)["points"]]
    assert points == [(batch, context) for batch in (1, 2, 4, 8) for context in (1024, 8192)]


def test_a_ragged_batch_is_one_point(run: Run) -> None:
    _, stdout, _ = run("step", "llama-3.1-8b", "--on", "h100", "--contexts", "8k*3,32k", "--json")
    answer = json.loads(stdout)
    assert [(point["batch"], point["context"]) for point in answer["points"]] == [(4, 14336)]
    assert any(note.startswith("a ragged batch of 2 lengths") for note in answer["assumptions"])


def test_cache_warm_is_an_assumption_that_is_told(run: Run) -> None:
    _, stdout, _ = run("step", "llama-3.1-8b", "--on", "h100", "--cache", "warm", "--json")
    assert any("warm" in note for note in json.loads(stdout)["assumptions"])


@pytest.mark.parametrize(
    "options",
    [
        ["--batch", "1,16,64", "--context", "8k,128k"],
        ["--batch", "512", "--context", "128k", "--scheme", "offload"],
        ["--batch", "8", "--context", "128k", "--phase", "prefill"],
        ["--batch", "1000000", "--context", "900m", "--scheme", "palu:keep=0.5+kivi:bits=4+offload:to=host"],
    ],
)
def test_no_line_of_the_table_is_wider_than_a_page(run: Run, options: list[str]) -> None:
    status, stdout, _ = run("step", "llama-3.1-70b", "--on", "h100:8", *options)
    assert status == 0
    assert max(map(len, stdout.splitlines())) <= 100


def test_a_prefill_counts_the_tokens_of_the_prompt(run: Run) -> None:
    command = ["step", "llama-3.1-8b", "--on", "h100", "--phase", "prefill", "--context", "8k"]
    _, table, _ = run(*command)
    point = json.loads(run(*command, "--json")[1])["points"][0]
    lines = table.splitlines()
    assert "prompt tok/s" in lines[1]
    assert f"{8192 / point['step_s']['mid']:,.0f}" in lines[2]


def test_help_tells_of_points_that_do_not_fit_and_of_the_usual_calibration(run):
    status, out, _ = run("step", "--help")
    told = " ".join(out.split())
    assert status == 0
    assert "does not fit is priced all the same, with exit status 0" in told
    assert "auto (default: the fits for this device and engine)" in told
