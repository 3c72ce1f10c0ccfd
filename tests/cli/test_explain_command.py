"""``kvwall explain``: the fixed keys, and a bill that a person can follow."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest

Run = Callable[..., tuple[int, str, str]]

KEYS = {
    "schema_version", "kvwall_version", "assumptions", "warnings", "model", "device", "gpus", "scheme", "batch",
    "context", "step_s", "ideal_step_s", "bound_by", "fits", "cache", "levels", "fusion", "terms",
}  # fmt: skip
TERM = {
    "owner", "operator", "name", "resource", "amount", "unit", "alone_s", "charged_s", "share", "equation",
    "reference", "substituted", "per_rank_amount",
}  # fmt: skip


def test_json_is_one_document_of_the_fixed_keys(run: Run) -> None:
    status, stdout, stderr = run(
        "explain", "llama-3.1-8b", "--on", "h100", "--scheme", "kivi:bits=2", "--batch", 4, "--context", "32k", "--json"
    )
    assert (status, stderr) == (0, "")
    answer = json.loads(stdout)
    assert set(answer) >= KEYS
    assert all(set(term) >= TERM for term in answer["terms"])
    assert {"logical_bytes", "physical_bytes", "peak_bytes"} <= set(answer["cache"])
    assert math.fsum(term["charged_s"] for term in answer["terms"]) == pytest.approx(answer["step_s"]["mid"], rel=1e-9)


def test_the_bill_starts_with_its_largest_term_and_ends_with_the_sum(run: Run) -> None:
    status, stdout, _ = run("explain", "llama-3.1-8b", "--on", "h100", "--context", "128k", "--batch", 2)
    assert status == 0
    lines = [line for line in stdout.splitlines() if " ms " in line and "%" in line]
    shares = [float(line.split("%")[0].split()[-1]) for line in lines[:-2]]
    assert shares == sorted(shares, reverse=True)
    assert lines[-2].endswith("smaller or hidden terms (--all)")
    assert lines[-1].endswith("100.0%  sum of the charged seconds = the step")
    # 2 x 8 heads x 128 channels a layer, 32 layers, 2 x 131072 tokens: keys alone are 17.2 GB.
    assert "= 17,179,869,184 bytes a rank" in " ".join(stdout.split())


def test_all_shows_every_term(run: Run) -> None:
    command = ["explain", "llama-3.1-8b", "--on", "h100"]
    terms = json.loads(run(*command, "--json")[1])["terms"]
    shown = [line for line in run(*command, "--all")[1].splitlines() if " ms " in line and "% " in line]
    assert len(shown) == len(terms) + 1


@pytest.mark.parametrize(
    "options",
    [
        ["llama-3.1-70b", "--on", "h100:8", "--scheme", "kivi:bits=2+offload:to=host", "--batch", "16"],
        ["deepseek-v3", "--on", "h200:8", "--ep", "8", "--attn-dp", "8", "--batch", "256", "--all"],
        ["gemma-3-12b", "--on", "rtx4090", "--phase", "prefill", "--context", "32k"],
    ],
)
def test_no_line_is_wider_than_a_page(run: Run, options: list[str]) -> None:
    status, stdout, _ = run("explain", *options)
    assert status == 0
    assert max(map(len, stdout.splitlines())) <= 100
