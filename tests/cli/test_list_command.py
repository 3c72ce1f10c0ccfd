"""``kvwall list``: one table a kind, filters, and the JSON contract."""

from __future__ import annotations

import json

import pytest

from kvwall.hardware.device import DEVICES
from kvwall.simulator.answers.kinds import KINDS
from kvwall.simulator.answers.model_figures import attention_pattern, cached_bytes
from kvwall.workloads.model_spec import MODELS


def rows_of(run, *arguments):
    status, out, err = run("list", *arguments, "--json")
    assert (status, err) == (0, "")
    return {row["name"]: row for row in json.loads(out)["rows"]}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_each_kind_in_the_plural_and_in_the_singular(run, kind):
    status, out, err = run("list", kind.plural, "--json")
    answer = json.loads(out)
    assert (status, err, answer["kind"]) == (0, "", kind.plural)
    assert {"schema_version", "kvwall_version", "assumptions", "warnings", "rows"} <= set(answer)
    assert answer["rows"]
    assert all(row["name"] for row in answer["rows"])
    assert run("list", kind.singular.upper(), "--json")[1] == out


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_a_table_names_every_row_within_100_columns(run, kind):
    status, out, err = run("list", kind.plural)
    assert (status, err) == (0, "")
    assert max(len(line) for line in out.splitlines()) <= 100
    first_words = {line.split()[0] for line in out.splitlines() if line.strip()}
    assert set(rows_of(run, kind.plural)) <= first_words


def test_without_a_kind_the_kinds_are_counted(run):
    rows = rows_of(run)
    assert set(rows) == {kind.plural for kind in KINDS}
    assert rows["devices"]["count"] == len(DEVICES.names)
    assert rows["schemes"]["count"] == len(rows_of(run, "schemes"))
    assert rows["calibrations"]["count"] == len(rows_of(run, "calibrations"))


def test_a_device_row_is_its_data_sheet(run):
    row = rows_of(run, "devices")["h100-sxm5-80gb"]
    assert row["memory_bytes"] == 81559 * 2**20
    assert row["memory_bandwidth_bytes_per_s"] == 3.35e12
    assert (row["matrix_dtype"], row["matrix_flops_per_s"]) == ("bf16", 989.4e12)
    assert row["fp8_flops_per_s"] == 1978.9e12
    assert row["link_bytes_per_s"] == 450e9
    line = next(line for line in run("list", "devices", "h100", "sxm5")[1].splitlines() if line.startswith(row["name"]))
    assert line.split() == ["h100-sxm5-80gb", "Hopper", "GH100", "79.6", "3.35", "989", "bf16", "1,979", "450", "3.99"]


def test_a_device_without_bf16_says_in_which_dtype_its_peak_is(run):
    row = rows_of(run, "devices")["v100-sxm2-32gb"]
    assert (row["matrix_dtype"], row["fp8_flops_per_s"]) == ("fp16", None)


def test_a_model_row_counts_parameters_and_cached_bytes(run):
    rows = rows_of(run, "models")
    # 32 layers x 8 KV heads x (128 + 128) channels x 2 bytes.
    assert rows["llama-3.1-8b"]["kv_bytes_per_token"] == 131072
    assert rows["llama-3.1-8b"]["parameters"] == 8030261248
    assert rows["llama-3.1-8b"]["max_context_tokens"] == 131072
    # 61 layers x (512 + 64) x 2 bytes.
    assert rows["deepseek-v3"]["kv_bytes_per_token"] == 70272
    # 10 layers keep all tokens, 52 the last 1024: 16 heads x 256 channels x 2 bytes each.
    assert rows["gemma-3-27b"]["kv_bytes_per_token"] == 10 * 8192
    assert rows["gemma-3-27b"]["window_bytes_per_sequence"] == 52 * 8192 * 1024


def test_indexer_keys_are_part_of_a_token():
    plain, sparse = cached_bytes(MODELS.load("deepseek-v3")), cached_bytes(MODELS.load("deepseek-v3.2"))
    assert sparse.per_token - plain.per_token == 61 * 132


@pytest.mark.parametrize(
    ("model", "pattern"),
    [
        ("llama-3.1-8b", "32 full 32/8"),
        ("gemma-3-27b", "10 full 32/16 + 52 window 1024"),
        ("gemma-4-31b", "10 full 32/4 + 50 window 1024 32/16"),
        ("llama-4-scout", "12 full 40/8 + 36 chunk 8192"),
        ("deepseek-v3.2", "61 mla 512+64 top 2048"),
        ("bamba-9b", "3 full 32/8 + 29 state"),
    ],
)
def test_attention_patterns(model, pattern):
    assert attention_pattern(MODELS.load(model)) == pattern


def test_a_filter_keeps_rows_that_hold_all_words(run):
    hopper = rows_of(run, "devices", "Hopper", "SXM")
    assert "h100-sxm5-80gb" in hopper
    assert "h100-pcie-80gb" not in hopper
    assert all(row["architecture"].startswith("Hopper") for row in hopper.values())
    # An alias, a pattern and a Hugging Face id, whatever their punctuation.
    assert "rtx-4090" in rows_of(run, "devices", "rtx4090")
    assert "kimi-k2" in rows_of(run, "models", "MLA")
    assert set(rows_of(run, "models", "meta-llama/llama-3.1-8b")) == {"llama-3.1-8b"}


def test_words_may_name_the_kind_of_a_model(run):
    moe = rows_of(run, "models", "qwen", "moe")
    assert {"qwen3-30b-a3b", "qwen3-235b-a22b"} <= set(moe)
    assert all("moe" in row["feed_forward"] for row in moe.values())
    dense = rows_of(run, "models", "qwen", "dense")
    assert "qwen3-32b" in dense
    assert "qwen3-30b-a3b" not in dense


def test_a_filter_that_keeps_nothing_names_the_nearest(run):
    status, out, err = run("list", "devices", "h1000")
    assert (status, out, err) == (0, "warning: nothing in devices holds 'h1000'; did you mean 'h100'?\n", "")
    answer = json.loads(run("list", "devices", "h1000", "--json")[1])
    assert (answer["rows"], answer["filter"]) == ([], "h1000")


def test_an_unknown_kind_is_one_line(run):
    allowed = "devices, models, schemes, techniques, weights, engines, systems, scenarios, calibrations, traces"
    assert run("list", "modles") == (
        2,
        "",
        f"kvwall: unknown kind 'modles'; did you mean 'models'? (allowed: {allowed})\n",
    )
    assert run("list", "xyzzy")[2] == f"kvwall: unknown kind 'xyzzy' (allowed: {allowed})\n"
