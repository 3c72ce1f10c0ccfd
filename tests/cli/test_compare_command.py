"""``kvwall compare``: the fixed keys of a row, refusals, and a table per point."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from kvwall.simulator.stack import scheme_names

Run = Callable[..., tuple[int, str, str]]

ROW = {
    "scheme", "ratio_to_first", "kv_tokens", "quality", "refused", "batch", "context", "step_s", "ideal_step_s",
    "tokens_per_s", "bound_by", "fits", "weights_read_bytes", "kv_stored_bytes", "kv_read_bytes", "kv_written_bytes",
    "host_link_bytes", "usd_per_million_tokens", "joules_per_token", "terms", "attention_from", "unmeasured",
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


def test_all_is_every_scheme_at_its_defaults(run: Run) -> None:
    status, stdout, _ = run("compare", "llama-3.1-8b", "--on", "h100", "--schemes", "all", "--json")
    assert status == 0
    rows = json.loads(stdout)["rows"]
    assert rows[0]["scheme"] == "none"
    assert sorted(row["scheme"] for row in rows) == sorted(scheme_names())
    refused = {row["scheme"] for row in rows if row["refused"]}
    assert "mla" in refused
    assert len(refused) < len(rows) / 4


def test_a_row_tells_what_its_attention_is_known_from(run: Run) -> None:
    def known(device: str, *options: str) -> list[tuple[str, str, bool]]:
        stacks = "none;kivi;kivi+snapkv"
        _, stdout, _ = run("compare", "llama-3.1-8b", "--on", device, "--schemes", stacks, *options, "--json")
        return [
            (row["scheme"], row["attention_from"], row["unmeasured"] is not None) for row in json.loads(stdout)["rows"]
        ]

    assert known("h100") == [
        ("none", "fitted", False), ("kivi", "carried over", False), ("snapkv+kivi", "carried over", True),
    ]  # fmt: skip
    assert {basis for _, basis, _ in known("h100", "--calibration", "none")} == {"class default"}
    assert known("h800", "--engine", "vllm", "--calibration", "h100-sxm5-80gb.vllm")[0][1] == "borrowed"


def test_the_table_marks_rows_that_are_not_fitted_and_says_what_the_marks_mean(run: Run) -> None:
    status, stdout, _ = run("compare", "llama-3.1-8b", "--on", "h100", "--schemes", "none;kivi;snapkv+kivi")
    assert status == 0
    speeds = [word for word in stdout.split() if "x" in word and word[0].isdigit() and word[1] == "."]
    assert [speed.partition("x")[2] for speed in speeds] == ["", "~", "~*"]
    assert "~ attention carried over from a fitted kernel of plain work" in stdout
    assert "* a stack that nobody published together: computed, not measured" in stdout


@pytest.mark.parametrize("command", ["step", "compare"])
@pytest.mark.parametrize(
    ("name", "told_as"),
    [
        ("a40.nccl.collectives", "--calibration a40.nccl.collectives prices no kernel on NVIDIA H100 SXM5 80GB"),
        # Of this device, but one device sends nothing to another.
        ("h100-sxm5-80gb.nccl.collectives",
         "calibration h100-sxm5-80gb.nccl prices no kernel of this step on NVIDIA H100 SXM5 80GB"),
    ],
)  # fmt: skip
def test_a_calibration_that_prices_nothing_is_told(run: Run, command: str, name: str, told_as: str) -> None:
    status, stdout, _ = run(command, "llama-3.1-8b", "--on", "h100", "--calibration", name, "--json")
    assert status == 0
    told = [warning for warning in json.loads(stdout)["warnings"] if "prices no kernel" in warning]
    assert told == [f"{told_as}: all of it is priced by documented class defaults"]
    _, stdout, _ = run(command, "llama-3.1-8b", "--on", "h100", "--json")
    assert [warning for warning in json.loads(stdout)["warnings"] if "prices no kernel" in warning] == []
