"""``kvwall need``: one JSON document of the fixed keys, and a table that reads well."""

from __future__ import annotations

import json
from collections.abc import Callable

Run = Callable[..., tuple[int, str, str]]

KEYS = {
    "schema_version", "kvwall_version", "assumptions", "warnings", "model", "weights", "scheme", "context", "users",
    "weights_bytes", "kv_bytes_per_token", "kv_bytes_per_user", "kv_bytes_total", "total", "holders",
}  # fmt: skip


def test_json_is_one_document_of_the_fixed_keys(run: Run) -> None:
    status, stdout, stderr = run("need", "llama-3.1-70b", "--context", "32k", "--users", 16, "--json")
    assert (status, stderr) == (0, "")
    answer = json.loads(stdout)
    assert set(answer) == KEYS
    assert (answer["context"], answer["users"]) == (32768, 16)
    assert set(answer["total"]) == {"bytes", "gib"}
    assert set(answer["holders"][0]) == {"device", "gpus", "kv_tokens", "max_concurrency", "usd_per_hour"}


def test_the_table_shows_amounts_and_the_cheapest_machines(run: Run) -> None:
    status, stdout, _ = run("need", "llama-3.1-70b", "--context", "32k", "--users", 16)
    lines = stdout.splitlines()
    assert status == 0
    assert max(map(len, lines)) <= 100
    assert lines[0] == "llama-3.1-70b (bf16, none), 16 x 32,768 tokens"
    assert "KV of all users  171.80  160.00" in lines
    assert "one more token of one user: 327,680 bytes" in lines
    shown = lines[lines.index("smallest machines, cheapest first") + 2 :]
    assert sum(" x " in line for line in shown) == 15
    assert any(line.startswith("and ") and line.endswith(" more (--json)") for line in shown)


def test_nothing_holds_it(run: Run) -> None:
    status, stdout, _ = run("need", "llama-3.1-405b", "--context", "128k", "--users", 1000)
    assert status == 0
    assert "no machine of up to eight known devices holds this" in stdout
