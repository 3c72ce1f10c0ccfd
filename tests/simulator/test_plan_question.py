"""What a plan makes of its options: scenarios, defaults, splits, schemes, quality, flags."""

from __future__ import annotations

import pytest

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.plan import plan
from kvwall.simulator.planning.quality_limit import published, quality_refusal
from kvwall.simulator.quality import scheme_evidence
from kvwall.simulator.stack import parse_stack, scheme_names
from kvwall.workloads.scenario import SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS.names)
def test_every_built_in_scenario_is_answered(name):
    answer = plan(name)
    assert answer.scenario == SCENARIOS.load(name).name
    assert answer.candidates or answer.remedies


def test_options_stand_over_a_scenario():
    answer = plan("default", on="h200:4", users=2, input=2048, output=64, engine="sglang", tpot_ms=100, schemes="fp8")
    assert (answer.device, answer.gpus, answer.engine) == ("h200-sxm-141gb", 4, "sglang")
    assert answer.load == "2 users; 2,048 in and 64 out"
    assert (answer.tpot_target_s, answer.ttft_target_s) == (0.1, 5.0)
    assert {c.scheme for c in answer.candidates} == {"fp8"}


def test_a_name_of_both_kinds_is_a_model_where_a_machine_is_given():
    assert plan("deepseek-r1", users=8, schemes="none").scenario == "mla-moe"
    assert plan("deepseek-r1", on="h200:8", users=8, schemes="none").scenario is None


def test_default_weights_are_never_wider_than_published():
    formats = {c.weights for c in plan("gpt-oss-120b", on="h100:2", users=4, top=None).candidates}
    assert formats == {"mxfp4"}
    blackwell = plan("llama-3.1-8b", on="b200", users=4, top=None).candidates
    assert {"bf16", "fp8", "nvfp4", "int4-g128"} == {c.weights for c in blackwell}
    assert "nvfp4" in {c.scheme for c in blackwell}
    assert "nvfp4" not in {c.scheme for c in plan("llama-3.1-8b", on="h100", users=4, top=None).candidates}


def test_experts_and_latents_are_split_both_ways():
    latent = plan("deepseek-r1", on="h200:8", users=8, schemes="none", weights="fp8", top=None)
    assert {(c.tp, c.ep, c.attn_dp) for c in latent.candidates} >= {(8, 1, 1), (8, 8, 1), (8, 1, 8), (8, 8, 8)}
    dense = plan("llama-3.1-8b", on="h100:2", users=8, schemes="none", top=None)
    assert {(c.ep, c.attn_dp) for c in dense.candidates} == {(1, 1)}


def test_what_the_architecture_forbids_is_rejected_once_with_its_reason():
    answer = plan("deepseek-r1", on="h200:8", users=8, schemes="none;kivi:bits=2")
    forbidden = [row for row in answer.rejected if row.kind == "architecture"]
    assert [(row.scheme, row.tp) for row in forbidden] == [("kivi:bits=2", None)]
    assert "latents" in forbidden[0].reason


def test_a_shared_prefix_is_prefilled_and_stored_once(tmp_path):
    text = """
model: Llama-3.1-8B
on: h100:1
workload: {{input: 32k, output: 256, shared_prefix: {prefix}}}
users: 16
"""
    answers = {}
    for prefix in ("0", "24k"):
        path = tmp_path / f"{prefix}.yaml"
        path.write_text(text.format(prefix=prefix))
        answers[prefix] = plan(str(path)).candidates[0]
    assert answers["24k"].prefill_s < 0.5 * answers["0"].prefill_s
    assert answers["24k"].max_concurrency.mid > 2 * answers["0"].max_concurrency.mid


def test_evidence_is_taken_at_its_own_setting_only():
    two, four = published(parse_stack("kivi:bits=2")), published(parse_stack("kivi:bits=4"))
    assert two
    assert four
    assert all("bits=2" in entry.setting for entry in two)
    assert all("bits=4" in entry.setting for entry in four)
    assert published(parse_stack("kivi:bits=2,group=64")) == ()
    assert published(parse_stack("none")) == ()


@pytest.mark.parametrize("name", scheme_names())
def test_evidence_names_its_scheme_settings_and_source(name):
    for entry in scheme_evidence(name):
        assert entry.scheme == name
        assert entry.source
        options = [part.partition("=")[0].strip() for part in entry.setting.split(",") if "=" in part]
        known = parse_stack(name).schemes[0].model_dump()
        assert set(options) <= set(known), entry
        assert -5 <= entry.loss <= 100


def test_a_limit_on_quality_keeps_what_is_published_within_it():
    assert quality_refusal(parse_stack("none"), {"LongBench": 0}) is None
    # The worst of the published means loses 1.11 (43.54 to 42.43), and 1.95 for snapkv (36.36 to 34.41).
    assert quality_refusal(parse_stack("kivi:bits=2"), {"LongBench": 1.2}) is None
    assert quality_refusal(parse_stack("kivi:bits=2"), {"longbench": 1.0}) == (
        "kivi:bits=2 lost 1.11 > 1 of LongBench, mean of 15 tasks on Mistral-7B-Instruct-v0.2 "
        "(jy-yuan/KIVI, docs/long_bench.md)"
    )
    assert quality_refusal(parse_stack("int4"), {"LongBench": 9}) == "no published LongBench figure is known for int4"
    answer = plan("llama-3.1-8b", on="h100", users=4, max_quality_loss="LongBench=1.2", top=None)
    assert {c.scheme for c in answer.candidates} == {"none", "kivi:bits=4", "kivi:bits=2"}
    assert {row.scheme for row in answer.rejected if row.kind == "quality"} == {
        "fp8", "int4", "snapkv:budget=1024", "quest",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "flags"),
    [
        (
            {"engine": "vllm", "weights": "fp8", "schemes": "fp8", "tp": 2, "pp": 2, "memory_utilization": 0.85},
            "vllm serve meta-llama/Llama-3.1-8B --tensor-parallel-size 2 --pipeline-parallel-size 2 "
            "--data-parallel-size 2 --max-num-seqs 4 --max-model-len 1280 --gpu-memory-utilization 0.85 "
            "--kv-cache-dtype fp8 --quantization fp8",
        ),
        (
            {"engine": "vllm", "weights": "int4-g128", "schemes": "kivi:bits=4", "tp": 8, "memory_utilization": 0.9},
            "vllm serve meta-llama/Llama-3.1-8B --tensor-parallel-size 8 --max-num-seqs 8 --max-model-len 1280 "
            "--gpu-memory-utilization 0.9  # kivi: no flag in vLLM, needs its authors' code  "
            "# needs a checkpoint in int4-g128",
        ),
        (
            {"engine": "sglang", "weights": "bf16", "schemes": "fp8", "tp": 4, "pp": 1, "memory_utilization": 0.8},
            "python -m sglang.launch_server --model-path meta-llama/Llama-3.1-8B --tp 4 --dp 2 "
            "--max-running-requests 4 --context-length 1280 --mem-fraction-static 0.8 --kv-cache-dtype fp8_e4m3",
        ),
        (
            {"engine": "hf", "weights": "bf16", "schemes": "none", "tp": 8},
            "# transformers: no server command is known",
        ),
    ],
)
def test_flags_realise_the_candidate(asked, flags):
    answer = plan("llama-3.1-8b", on="h100:8", users=8, input=1024, output=128, batch=(8,), **asked)
    assert answer.candidates[0].engine_flags == flags


@pytest.mark.parametrize(
    ("subject", "asked", "message"),
    [
        ("llama-3.1-8b", {}, "--on: is missing; say on which devices llama-3.1-8b runs, as in --on h100:8"),
        ("defualt", {}, "'defualt' is neither a scenario nor a model; did you mean 'default'?"),
        ("default", {"top": 0}, "--top 0: must be a whole number from 1"),
        ("default", {"users": 0}, "--users 0: must be a whole number from 1"),
        ("default", {"tpot_ms": -1}, "--tpot-ms -1: must lie between 0.001 and 3.6e+06"),
        (
            "default",
            {"objective": "speed"},
            "unknown --objective 'speed' (allowed: cost, latency, throughput)",
        ),
        (
            "default",
            {"max_quality_loss": "LongBench"},
            "--max-quality-loss 'LongBench': write METRIC=VALUE, as in LongBench=1",
        ),
        (
            "default",
            {"max_quality_loss": {"longbnch": 1}},
            "unknown metric of --max-quality-loss 'longbnch'; did you mean 'LongBench'?",
        ),
        (
            "default",
            {"schemes": "none", "scheme": "fp8"},
            "--schemes and --scheme: both say which schemes to try; give one",
        ),
        (
            "default",
            {"on": "prefill=h100:8,decode=h100:8"},
            "--on 'prefill=h100:8,decode=h100:8': a plan serves prefill and decode on one pool (write h100:8)",
        ),
        ("default", {"tp": 8, "pp": 1, "dp": 2}, "--tp 8 --pp 1 --dp 2: make 16 devices, but --on gives 8"),
    ],
)
def test_errors_name_the_option_and_what_is_allowed(subject, asked, message):
    with pytest.raises(InputError) as caught:
        plan(subject, **asked)
    assert str(caught.value) == message
