"""``kvwall show``: every shipped thing can be shown, with units, sources and what follows from it."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from kvwall.hardware.calibration import KERNEL_CALIBRATIONS
from kvwall.hardware.device import DEVICES
from kvwall.simulator.answers.catalogue_rows import TRACE_FORMATS
from kvwall.simulator.answers.kinds import libraries, library_kinds
from kvwall.simulator.answers.show import show
from kvwall.simulator.cli.document_view import inline, scalar
from kvwall.simulator.cli.output import console
from kvwall.simulator.cli.show_command import render
from kvwall.simulator.stack import scheme_names
from kvwall.workloads.model_spec import MODELS


def shown(run, *arguments):
    status, out, err = run("show", *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


@pytest.mark.parametrize("plural", library_kinds())
def test_every_shipped_file_can_be_shown(plural, capsys):
    for name in (name for known in libraries(plural) for name in known.names):
        answer = show(plural, name)
        assert answer.name == name
        assert answer.document["source"] if "source" in answer.document else answer.document["hbm"]["source"]
        json.loads(answer.model_dump_json())
        render(answer, console())
        assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 100


@pytest.mark.parametrize("name", scheme_names())
def test_every_scheme_can_be_shown(run, name):
    document = shown(run, "scheme", name)["document"]
    assert document["name"] == name
    assert document["equations"]
    assert document["reference"]
    status, out, err = run("show", "schemes", name)
    assert (status, err) == (0, "")
    for option in document["options"]:
        assert option["allowed"]
        assert any(line.split()[:1] == [option["name"]] for line in out.splitlines())


def test_options_of_a_scheme_with_defaults_and_ranges(run):
    document = shown(run, "scheme", "kivi")["document"]
    assert [(o["name"], o["default"], o["allowed"]) for o in document["options"]] == [
        ("bits", 2, "2, 4, 8"),
        ("group", 32, "whole number from 8 to 1,024"),
        ("residual", 128, "whole number from 0 to 1,000,000"),
        ("kernel", "fused", "fused, public"),
        ("append", None, "in_place, concat"),
    ]
    options = {option["name"]: option for option in shown(run, "scheme", "palu")["document"]["options"]}
    assert options["keep"]["allowed"] == "number above 0 to 1"
    assert options["k_keep"]["default"] is None
    assert "`" not in document["about"]


def test_published_quality_of_a_scheme(run, monkeypatch):
    from kvwall.simulator import quality

    cited = quality.Evidence(
        scheme="kivi", setting="bits=2", model="M", metric="score", baseline=50, value=49, source="paper, table 3"
    )
    monkeypatch.setattr(quality, "scheme_evidence", lambda name: (cited,) if name == "kivi" else ())
    assert shown(run, "scheme", "kivi")["document"]["evidence"][0]["value"] == 49
    assert "setting bits=2, model M, metric score, baseline 50, value 49" in run("show", "scheme", "kivi")[1]
    assert shown(run, "scheme", "none")["document"]["evidence"] == []


def test_a_device_is_its_document_in_si_units(run):
    answer = shown(run, "device", "H100 SXM")
    assert (answer["kind"], answer["name"]) == ("device", "h100-sxm5-80gb")
    assert answer["assumptions"] == ["'H100 SXM' is h100-sxm5-80gb"]
    assert answer["document"]["hbm"]["bandwidth_bytes_per_s"] == 3.35e12
    assert answer["derived"]["ridge_bf16_flops_per_byte"] == pytest.approx(989.4 / 3.35)
    assert answer["derived"]["usual_system"] == "dgx-h100"


def test_a_device_as_people_read_it(run):
    status, out, err = run("show", "device", "h100")
    assert (status, err) == (0, "")
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == "device h100-sxm5-80gb"
    assert "capacity   79.647 GiB" in lines
    assert "bandwidth  3.35 TB/s" in lines
    assert "bf16    989.4 TFLOP/s" in lines
    assert "boost clock             1.98 GHz" in lines
    assert "per byte  100 pJ/B" in lines
    assert "per hour  3.99 USD/h" in lines
    # Every block of figures says where it is from.
    blocks = sum(isinstance(block, dict) for block in DEVICES.load("h100").model_dump(mode="json").values())
    assert sum(line.startswith("source ") for line in lines) == blocks


def test_a_model_counts_parameters_against_the_published(run):
    derived = shown(run, "model", "meta-llama/Llama-3.1-8B")["derived"]
    assert derived["parameters"] == sum(derived["parameters_by_class"].values()) == 8030261248
    assert derived["parameters_over_published"] == pytest.approx(1, rel=0.01)
    assert derived["kv_bytes_per_token"] == 131072
    out = run("show", "model", "gemma-3-27b")[1]
    assert "80 KiB/token" in out
    assert "416 MiB/sequence" in out
    assert "kind sliding, layers 52, q heads 32, kv heads 16, head dim 128, window 1,024, qk norm" in out


def test_a_model_by_the_path_of_its_file(run):
    path = files("kvwall.workloads").joinpath("models/llama-3.1-8b.yaml")
    assert shown(run, "model", path)["document"] == MODELS.load("llama-3.1-8b").model_dump(mode="json")


def test_an_engine_is_its_newest_profile(run):
    assert shown(run, "engine", "vllm")["name"].startswith("vllm-0.")
    out = run("show", "engine", "vllm-0.9")[1]
    assert "0.8 and later, before 0.10" in out


@pytest.mark.parametrize("trace", TRACE_FORMATS, ids=lambda trace: trace.name)
def test_every_trace_format_can_be_shown(run, trace):
    assert shown(run, "trace", trace.name)["document"]["columns"] == list(trace.columns)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("device", "h1000"), "unknown device 'h1000'; did you mean 'h100'?"),
        (("scheme", "kivvi"), "unknown scheme 'kivvi'; did you mean 'kivi'?"),
        (("trace", "mooncacke"), "unknown trace format 'mooncacke'; did you mean 'mooncake'?"
         " (allowed: azure-llm-inference, mooncake, plain, vidur)"),
        (("model", ""), "NAME: is empty; 'kvwall list models' lists all"),
        (("system", "/nowhere/node.yaml"), "/nowhere/node.yaml: cannot be read (No such file or directory)"),
    ],
)  # fmt: skip
def test_an_unknown_name_is_one_line(run, arguments, message):
    assert run("show", *arguments) == (2, "", f"kvwall: {message}\n")


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("capacity_bytes", 80 * 2**30, "80 GiB"),
        ("ssd_bytes", 0, "0 B"),
        ("latency_s", 3.3e-6, "3.3 us"),
        ("bandwidth_bytes_per_s", 63.015e9, "63.015 GB/s"),
        ("per_flop_joules", 0.75e-12, "0.75 pJ/FLOP"),
        ("vocab_size", 128256, "128,256"),
        ("utilization", 0.92, "0.92"),
        ("single_source", True, "yes"),
    ],
)
def test_values_in_the_unit_their_key_names(key, value, text):
    assert scalar(key, value) == text


def test_a_band_is_its_middle_and_its_ends():
    assert inline({"low_s": 1e-6, "mid_s": 2e-6, "high_s": 5e-6}, "floor") == "2 us (1 us to 5 us)"
    assert inline({"source": "a log", "low": 0, "mid": 2**30, "high": 2**31}, "context_bytes") == (
        "1 GiB (0 B to 2 GiB); a log"
    )


def test_fitted_kernels_with_parameters_errors_and_provenance(run):
    document = shown(run, "calibration", "h100-sxm5-80gb.vllm")["document"]
    assert {"h100-sxm5-80gb.vllm", "h100-sxm5-80gb.vllm.gemm"} <= set(document["parts"])
    for fit in document["fits"]:
        assert fit["n"] > 0
        assert fit["points"]
        assert fit["cross_validated"]["median"] > 0
        for parameter in fit["parameters"]:
            assert all(parameter[key] for key in ("unit", "meaning")), (fit["family"], parameter["name"])
    gemm = shown(run, "calibration", "h100-sxm5-80gb.vllm.gemm")["document"]
    assert gemm["parts"] == []
    assert {fit["family"] for fit in gemm["fits"]} < {fit["family"] for fit in document["fits"]}
    status, out, err = run("show", "calibration", "h100-sxm5-80gb.vllm.gemm")
    assert (status, err) == (0, "")
    for fit in gemm["fits"]:
        assert fit["family"] in out
        assert f"points: {fit['n']:,}" in out


def test_every_calibration_that_answers_cite_can_be_shown(run):
    for member in KERNEL_CALIBRATIONS.names:
        cited = ".".join(member.split(".")[:2])
        assert member in show("calibration", cited).document["parts"] or member == show("calibration", member).name
    status, out, err = run("show", "calibration", "h100-sxm5-80gb.vlm")
    assert (status, out) == (2, "")
    assert "did you mean 'h100-sxm5-80gb.vllm'" in err


def test_constants_of_an_engine_are_a_calibration(run):
    status, out, _ = run("show", "calibration", "sglang.qwen3-32b", "--json")
    document = json.loads(out)["document"]
    assert status == 0
    assert (document["engine"], document["models"]) == ("sglang", ["qwen3-32b"])
    assert set(document["constants"]) <= {*("per_step_s", "per_sequence_s"), *("own", "others", "steps", "slot")}
