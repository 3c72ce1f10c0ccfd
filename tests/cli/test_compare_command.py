"""``kvwall compare``: the fixed keys of a row, refusals, and a table per point."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

Run = Callable[..., tuple[int, str, str]]

ROW = {
    "scheme", "ratio_to_first", "kv_tokens", "quality", "refused", "batch", "context", "step_s", "ideal_step_s",
    "tokens_per_s", "bound_by", "fits", "weights_read_bytes", "kv_stored_bytes", "kv_read_bytes", "kv_written_bytes",
    "host_link_bytes", "usd_per_million_tokens", "joules_per_token", "terms",
}  # fmt: skip


def test_json_is_one_document_of_the_fixed_keys(run: Run) -> None:
    schemes = "none;fp8;kivi:bits=2;snapkv:budget=1024"
    status, stdout, stderr = run("compare", "llama-3.1-8b", "--on", "h100", "--schemes", schemes, "--json")
    assert (status, stderr) == (0, "")
    rows = json.loads(stdout)["rows"]
    assert [row["scheme"] for row in rows] == schemes.split(";")
    assert all(set(row) >= ROW and row["refused"] is None for row in rows)


def test_a_refused_scheme_is_a_row_with_its_reason(run: Run) -> None:
    status, stdout, _ = run("compare", "deepseek-v3", "--on", "h200:8", "--schemes", "none;palu", "--json")
    assert status == 0
    assert json.loads(stdout)["rows"][1] == {
        "scheme": "palu",
        "refused": "scheme 'palu' does not apply to DeepSeek-V3: its cache is a latent already",
    }


def test_each_point_has_a_table_of_its_own(run: Run) -> None:
    schemes = "none;palu:keep=0.5+kivi:bits=4+offload:to=host"
    command = ["compare", "llama-3.1-70b", "--on", "h100:8", "--schemes", schemes]
    status, stdout, _ = run(*command, "--batch", "16,32", "--context", "8k")
    lines = stdout.splitlines()
    assert status == 0
    assert [line for line in lines if line.endswith(" x 8,192 tokens")] == ["16 x 8,192 tokens", "32 x 8,192 tokens"]
    # A long stack is folded at its schemes, and its numbers stay whole beside it.
    assert [line.split()[0] for line in lines[3:7]] == ["none", "palu:keep=0.5", "+kivi:bits=4", "+offload:to=host"]


@pytest.mark.parametrize(
    "options",
    [
        ["--batch", "16", "--context", "32k"],
        ["--batch", "64", "--context", "1m"],
        ["--phase", "prefill", "--context", "128k"],
        ["--schemes", "kivi:bits=4,group=32,residual=128+offload:to=host,fraction=0.25;none"],
    ],
)
def test_no_line_is_wider_than_a_page(run: Run, options: list[str]) -> None:
    status, stdout, _ = run("compare", "llama-3.1-70b", "--on", "h100:8", *options)
    assert status == 0
    assert max(map(len, stdout.splitlines())) <= 100
