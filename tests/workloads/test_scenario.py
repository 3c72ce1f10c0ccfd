"""Scenarios: the built-in ones hold together, ranges become arrays, and what a wrong file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvwall.hardware.document import read_document, validate_mapping
from kvwall.hardware.errors import InputError
from kvwall.hardware.system import make_system
from kvwall.workloads.model_spec import MODELS
from kvwall.workloads.scenario import SCENARIOS, Scenario
from kvwall.workloads.weight_format import WEIGHTS

BASE = {"name": "x", "source": "s", "model": "m", "on": "h100", "workload": {"input": "1k", "output": 100}}


@pytest.mark.parametrize("name", SCENARIOS.names)
def test_a_built_in_scenario_names_things_that_exist_and_fits_its_model(name):
    scenario = SCENARIOS.load(name)
    model = MODELS.load(scenario.model)
    assert scenario.name == name
    assert scenario.source
    assert make_system(scenario.on, scenario.nodes).count >= 1
    assert [form for form in scenario.weights if WEIGHTS.resolve(form) != form] == []
    assert scenario.to_workload().peak_context_tokens.max() <= model.max_context


def test_the_default_is_a_mix_on_eight_h100():
    scenario = SCENARIOS.load("default")
    work = scenario.to_workload()
    assert scenario.on == "h100-sxm5-80gb:8"
    assert [(part.name, part.share) for part in work.mix] == [("chat", 0.7), ("documents", 0.3)]
    assert [int(part.input_tokens) for part in work.mix] == [1200, 16384]
    assert (work.ttft_s, work.tpot_s) == (5.0, pytest.approx(0.05))
    assert work.users == 64
    assert scenario.axes == {}


def test_each_range_lies_on_an_axis_of_its_own():
    scenario = validate_mapping(
        {**BASE, "workload": {"input": "1k..4k*2", "output": 100, "shared_prefix": [0, 512]}, "users": "1,8,64,128"},
        Scenario,
        "f.yaml",
    )
    work = scenario.to_workload()
    assert scenario.axes == {
        "requests.input": (1024, 2048, 4096),
        "requests.shared_prefix": (0, 512),
        "users": (1, 8, 64, 128),
    }
    assert work.input_tokens.shape == (3, 1, 1)
    assert work.shared_prefix_tokens.shape == (1, 2, 1)
    assert work.users.shape == (1, 1, 4)
    assert work.output_tokens.shape == ()
    assert list(work.input_tokens.ravel()) == [1024, 2048, 4096]


def test_a_bare_on_in_a_file_is_the_key_on(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: m\non: h100:2\nworkload: {input: 1k, output: 10}\ntargets: {ttft: 2 s, tpot: 50 ms}\n")
    scenario = read_document(path, Scenario)
    assert scenario.on == "h100:2"
    assert scenario.targets.tpot_s == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"users": 0}, "users: 0 is outside 1 to 1000000; write for example '64'"),
        (
            {"workload": {"input": "8.5", "output": 1}},
            "workload.input: '8.5' is not a whole number; write for example '8k'",
        ),
        ({"targets": {"tpot": 50}}, "targets.tpot: 50 is outside 1e-05 to 10 s; write for example '50 ms'"),
        ({"targets": {"ttft": "50 GB"}}, "targets.ttft: '50 GB' has the unit 'B', expected 's' as in '2 s'"),
        (
            {"workload": None},
            "give exactly one of 'workload' (one kind of request) and 'mix' (several)",
        ),
        (
            {"workload": {"input": 4, "output": 1, "shared_prefix": 5}},
            "workload: shared_prefix 5 is longer than input 4",
        ),
        (
            {"workload": None, "mix": [{"name": "a", "share": 0.5, "input": 1, "output": 2}]},
            "mix: the shares add up to 0.5, not to 1",
        ),
        (
            {"workload": None, "mix": [{"name": "a", "share": 0.5, "input": 1, "output": 2}] * 2},
            "mix: the name 'a' stands twice",
        ),
        (
            {"workload": {"input": "1..1000", "output": "1..1000"}, "users": "1..10"},
            "its ranges make 10,000,000 points (at most 1,000,000)",
        ),
        ({"objective": "speed"}, "objective: expected 'cost', 'throughput' or 'latency' (found 'speed')"),
        (
            {"workload": {"input": 1, "output": 1, "outptu": 1}},
            "unknown key 'workload.outptu'; did you mean 'output'? (allowed: input, output, shared_prefix)",
        ),
    ],
)
def test_a_wrong_scenario_is_one_line(change, message):
    with pytest.raises(InputError) as caught:
        validate_mapping({**BASE, **change}, Scenario, "f.yaml")
    assert str(caught.value) == f"f.yaml: {message}"
