"""``kvwall diff``: pairs of points, terms that add up, verdicts, and files that are no answers."""

from __future__ import annotations

import json

import pytest

from kvwall.simulator.answers.step import step

ENVELOPE = {"schema_version": 1, "kvwall_version": "0.1.0", "assumptions": [], "warnings": []}


def term(name, charged_s, operator="decode attention"):
    return {"owner": "attention", "operator": operator, "name": name, "charged_s": charged_s, "alone_s": 0}


def point(batch, terms, **more):
    total = sum(entry["charged_s"] for entry in terms)
    band = {"low": total, "mid": total, "high": total}
    return {"batch": batch, "context": 8192, "query_tokens": 1, "step_s": band, "terms": terms, **more}


def step_answer(*points, **more):
    return {**ENVELOPE, "model": "m", "scheme": "none", "phase": "decode", "points": list(points), **more}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write answers to a.json and b.json of the working folder."""
    monkeypatch.chdir(tmp_path)

    def write(a, b):
        for name, content in (("a.json", a), ("b.json", b)):
            (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return "a.json", "b.json"

    return write


def diff_of(run, paths):
    status, out, err = run("diff", *paths, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_terms_share_the_difference(run, files):
    a = step_answer(point(1, [term("read key", 0.010), term("read value", 0.004), term("only in A", 0.001)]))
    b = step_answer(point(1, [term("read key", 0.006), term("read value", 0.004), term("only in B", 0.002)]))
    answer = diff_of(run, files(a, b))
    assert (answer["command"], answer["a"], answer["b"]) == ("step", "a.json", "b.json")
    (pair,) = answer["points"]
    assert pair["delta_s"] == pytest.approx(-0.003)
    # The untouched term is left out, the largest change comes first, and the shares add up to 1.
    assert [(t["name"], round(t["delta_s"], 9), round(t["share"], 6)) for t in pair["terms"]] == [
        ("read key", -0.004, 1.333333),
        ("only in B", 0.002, -0.666667),
        ("only in A", -0.001, 0.333333),
    ]
    assert sum(t["share"] for t in pair["terms"]) == pytest.approx(1)


def test_verdict_names_the_term_behind_it(run, files):
    a = step_answer(point(1, [term("read key", 0.010), term("write key", 0.002)]))
    b = step_answer(point(1, [term("read key", 0.007), term("write key", 0.001)]), scheme="fp8")
    paths = files(a, b)
    verdict = "B is 4 ms faster (-33.3%) at batch 1, context 8,192; 75% of it from 'decode attention': read key"
    assert diff_of(run, paths)["verdict"] == verdict
    status, out, err = run("diff", *paths)
    assert (status, err) == (0, "")
    assert " ".join(out.split()).startswith(f"{verdict} A is a.json, B is b.json, both answers of step")
    assert ["scheme", "none", "fp8"] in [line.split() for line in out.splitlines()]


def test_verdict_names_what_pushes_back(run, files):
    a = step_answer(point(1, [term("read key", 0.010)]))
    b = step_answer(point(1, [term("read key", 0.004), term("unpack key", 0.005)]))
    assert diff_of(run, files(a, b))["verdict"] == (
        "B is 1 ms faster (-10.0%) at batch 1, context 8,192; "
        "'decode attention': read key -6 ms, against it unpack key +5 ms"
    )


def test_the_same_term_of_two_layer_groups_is_one(run, files):
    a = step_answer(point(1, [term("read key", 0.001), term("read key", 0.002)]))
    b = step_answer(point(1, [term("read key", 0.005)]))
    (change,) = diff_of(run, files(a, b))["points"][0]["terms"]
    assert (change["a_s"], change["b_s"], change["share"]) == (pytest.approx(0.003), 0.005, 1.0)


def test_points_pair_by_batch_and_context_and_else_in_order(run, files):
    one, two, four = (point(batch, [term("read key", batch / 1000)]) for batch in (1, 2, 4))
    answer = diff_of(run, files(step_answer(one, two), step_answer(four, two)))
    assert [(pair["a"], pair["b"]) for pair in answer["points"]] == [("batch 2, context 8,192",) * 2]
    assert answer["warnings"] == [
        "only in a.json: batch 1, context 8,192",
        "only in b.json: batch 4, context 8,192",
    ]
    answer = diff_of(run, files(step_answer(one), step_answer(two, four)))
    assert [(pair["a"], pair["b"]) for pair in answer["points"]] == [
        ("batch 1, context 8,192", "batch 2, context 8,192")
    ]
    assert answer["warnings"] == ["1 points of the longer answer have no partner"]
    assert answer["verdict"].startswith(
        "B is 1 ms slower (+100.0%) (batch 1, context 8,192 against batch 2, context 8,192); 100% of it"
    )


def test_the_verdict_is_of_the_largest_difference(run, files):
    a = step_answer(point(1, [term("read key", 0.001)]), point(8, [term("read key", 0.008)]))
    b = step_answer(point(1, [term("read key", 0.002)]), point(8, [term("read key", 0.004)]))
    answer = diff_of(run, files(a, b))
    assert answer["verdict"].startswith(
        "B is 4 ms faster (-50.0%) at batch 8, context 8,192 (the largest of 2 differences)"
    )


def test_real_answers_of_two_schemes(run, files):
    a, b = (
        step("llama-3.1-8b", on="h100", batch=[16], context=[32768], scheme=scheme).model_dump_json()
        for scheme in ("none", "fp8")
    )
    answer = diff_of(run, files(a, b))
    (pair,) = answer["points"]
    assert {change["key"] for change in answer["differences"]} == {"scheme"}
    assert sum(t["delta_s"] for t in pair["terms"]) == pytest.approx(pair["delta_s"], rel=1e-6)
    halved = next(change for change in pair["figures"] if change["key"] == "kv_stored_bytes")
    assert halved["ratio"] == pytest.approx(0.5)


def test_an_answer_against_itself(run, files):
    a = step_answer(point(1, [term("read key", 0.008)]))
    answer = diff_of(run, files(a, a))
    assert answer["verdict"] == "both take 8 ms at batch 1, context 8,192"
    assert answer["differences"] == []
    assert answer["points"][0]["terms"] == []


def test_answers_of_fit(run, files):
    def fit(tokens):
        band = {"low": tokens, "mid": tokens, "high": tokens}
        return {**ENVELOPE, "fits": True, "per_gpu": {"weights_bytes": 16e9}, "kv_tokens": band}

    answer = diff_of(run, files(fit(1000), fit(2500)))
    assert answer["verdict"] == "A holds 1,000 tokens, B 2,500 (2.50 times)"
    assert answer["differences"] == [{"key": "kv_tokens", "a": 1000, "b": 2500, "ratio": 2.5}]
    assert diff_of(run, files(fit(0), fit(9)))["verdict"] == "A holds 0 tokens, B 9"
    assert diff_of(run, files(fit(9), fit(9)))["verdict"] == "both hold 9 tokens"


def test_rows_of_compare_pair_by_scheme(run, files):
    def compare(*rows):
        return {**ENVELOPE, "phase": "decode", "rows": list(rows)}

    dense, fp8 = (point(1, [], scheme=scheme) | {"step_s": 0.01} for scheme in ("none", "fp8"))
    refused = {"scheme": "kivi", "refused": "its latents have no channels"}
    answer = diff_of(run, files(compare(dense, fp8, refused), compare(fp8 | {"step_s": 0.02})))
    assert [(pair["a"], pair["ratio"]) for pair in answer["points"]] == [("fp8, batch 1, context 8,192", 2.0)]
    assert answer["warnings"] == ["only in a.json: none, batch 1, context 8,192"]


def test_answers_of_plan(run, files):
    def plan(*candidates):
        return {**ENVELOPE, "candidates": list(candidates), "rejected": []}

    def candidate(scheme, usd):
        return {"scheme": scheme, "weights": "fp8", "tp": 2, "pp": 1, "dp": 1, "batch": 8, "tpot_s": 0.02,
                "usd_per_million_tokens": usd}  # fmt: skip

    answer = diff_of(run, files(plan(candidate("none", 2.0)), plan(candidate("fp8", 1.0), candidate("none", 2.0))))
    assert answer["verdict"] == (
        "best of A: none, fp8, tp 2, pp 1, dp 1, batch 8; "
        "of B: fp8, fp8, tp 2, pp 1, dp 1, batch 8; usd_per_million_tokens x 0.50"
    )
    assert [pair["a"] for pair in answer["points"]] == ["none, fp8, tp 2, pp 1, dp 1, batch 8"]
    assert diff_of(run, files(plan(candidate("none", 2.0)), plan()))["verdict"] == "B found no plan"


def test_another_version_is_a_warning(run, files):
    a = step_answer(point(1, [term("read key", 0.001)]))
    answer = diff_of(run, files(a, a | {"kvwall_version": "0.2.0"}))
    assert answer["warnings"] == ["made by kvwall 0.1.0 and 0.2.0: equations may differ too"]


GOOD = step_answer(point(1, [term("read key", 0.001)]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.json: line 1: not JSON (Expecting value)"),
        ("{1}", "a.json: line 1: not JSON (Expecting property name enclosed in double quotes)"),
        ("[1]", "a.json: not an answer of kvwall (write one with --json)"),
        ({"points": []}, "a.json: not an answer of kvwall (write one with --json)"),
        (ENVELOPE, "a.json: not an answer of compare, explain, fit, plan or step"),
        (GOOD | {"points": 3}, "a.json: points: expected a list of keys and values"),
        (step_answer({"terms": [{"owner": "x"}]}), "a.json: points.0: missing key 'terms.0.operator' (and 2 more)"),
        (step_answer({"step_s": "fast"}), "a.json: points.0: step_s: expected a number or a band (found 'fast')"),
        (
            {**ENVELOPE, "fits": True, "per_gpu": {}},
            "a.json is an answer of 'fit' and b.json one of 'step': expected two of one command",
        ),
    ],
)
def test_a_file_that_is_no_answer_is_one_line(run, files, content, message):
    assert run("diff", *files(content, GOOD)) == (2, "", f"kvwall: {message}\n")


def test_a_missing_file_is_one_line(run, files):
    files(GOOD, GOOD)
    assert run("diff", "a.json", "c.json") == (2, "", "kvwall: c.json: cannot be read (No such file or directory)\n")
