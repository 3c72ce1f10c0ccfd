"""``kvwall plan`` on the command line."""

from __future__ import annotations

import json

SMALL = ("--input", "2k", "--output", "128", "--users", "8", "--schemes", "none;fp8")


def test_without_arguments_the_default_scenario_is_planned(run):
    status, out, err = run("plan")
    assert (status, err) == (0, "")
    assert out.startswith("llama-3.1-70b on 8 x NVIDIA H100 SXM5 80GB, vllm: 64 users")
    assert "pick: TPOT = " in out
    assert "vllm serve meta-llama/Llama-3.1-70B --tensor-parallel-size" in out
    table = [line for line in out.splitlines() if not line.startswith("  vllm serve")]
    assert max(map(len, table)) <= 100


def test_json_is_one_document(run):
    status, out, err = run("plan", "llama-3.1-8b", "--on", "h100:2", *SMALL, "--json")
    assert (status, err) == (0, "")
    document = json.loads(out)
    assert document["candidates"][0]["rank"] == 1
    assert document["load"] == "8 users; 2,048 in and 128 out"


def test_a_no_says_why_and_what_would_help(run):
    status, out, err = run("plan", "llama-3.1-8b", "--on", "h100:2", *SMALL, "--tpot-ms", "1", "--json")
    assert status == 1
    assert err == ""
    document = json.loads(out)
    assert document["candidates"] == []
    assert document["remedies"][0].startswith("--tpot-ms ")
    status, _, err = run("plan", "llama-3.1-8b", "--on", "h100:2", *SMALL, "--tpot-ms", "1")
    assert status == 1
    assert err.startswith("kvwall: no: nothing meets the targets; nearest is ")
    assert err.count("\n") == 1


def test_what_does_not_fit_says_by_how_much_and_how_many_devices_would(run):
    status, _, err = run("plan", "llama-3.1-70b", "--on", "h100:1", *SMALL, "--weights", "bf16")
    assert status == 1
    assert "does not fit: weights 132.1 GiB" in err
    assert err.rstrip().endswith("the smallest change that gives a plan: --on h100:2")


def test_a_budget_below_the_rent_is_a_no(run):
    status, _, err = run("plan", "default", "--budget-usd-per-hour", "16")
    assert status == 1
    assert err.startswith("kvwall: no: 8 x h100-sxm5-80gb cost 31.92 > 16.00 USD per hour; the smallest change")


def test_an_option_that_was_typed_stands_over_the_scenario(run):
    _, out, _ = run("plan", "coding-agent", "--users", "2", "--engine", "vllm", "--json")
    assert json.loads(out)["engine"] == "vllm"
    _, out, _ = run("plan", "coding-agent", "--users", "2", "--json")
    assert json.loads(out)["engine"] == "sglang"


def test_errors_are_one_line(run):
    assert run("plan", "defualt") == (
        2,
        "",
        "kvwall: 'defualt' is neither a scenario nor a model; did you mean 'default'?\n",
    )
    assert run("plan", "nope.yaml") == (2, "", "kvwall: nope.yaml: cannot be read (No such file or directory)\n")


def test_an_unknown_metric_is_refused_in_one_line(run):
    status, _, err = run("plan", "llama-3.1-8b", "--on", "h100", "--max-quality-loss", "foo=1")
    assert status == 2
    assert err.startswith("kvwall: unknown metric of --max-quality-loss 'foo' (allowed: ")
    assert all(metric in err for metric in ("CoQA", "GSM8K", "LongBench"))
    assert err.count("\n") == 1


def test_one_of_a_kind_is_told_as_one(run):
    asked = ("--on", "h100", "--weights", "bf16", "--schemes", "none", "--users", "1")
    _, out, _ = run("plan", "llama-3.1-8b", *asked)
    assert ": 1 user; 1,200 in and 300 out\nbest by cost; 1 of 1 combination fits\n" in out
    _, out, _ = run("plan", "llama-3.1-8b", *asked, "--tpot-ms", "50")
    assert "; 1 of 1 combination keeps the targets\n" in out


def test_what_cannot_be_is_told_once(run):
    asked = ("--on", "h200:8", "--users", "8", "--weights", "fp8", "--tp", "8")
    _, out, _ = run("plan", "deepseek-r1", *asked, "--schemes", "none;kivi:bits=2;kivi:bits=4")
    assert out.count("\ncannot be: scheme 'kivi' does not apply") == 1


def test_a_lossy_pick_says_what_is_published_and_what_loses_nothing(run):
    asked = ("--on", "h100:2", "--input", "32k", "--output", "500", "--weights", "bf16")
    _, out, _ = run("plan", "llama-3.1-8b", *asked, "--schemes", "none;snapkv:budget=1024")
    assert "quality: snapkv (budget=1024, window=32): LongBench, mean of 16 tasks 42.56 -> 41.45" in out
    assert "\nlossless: rank " in out
    _, out, _ = run("plan", "llama-3.1-8b", *asked, "--schemes", "fp8")
    assert "quality: no figure is published for fp8 at these settings\nlossless: none among the candidates\n" in out
    _, out, _ = run("plan", "llama-3.1-8b", *asked, "--schemes", "none")
    assert "quality: " not in out
    assert "lossless: " not in out
