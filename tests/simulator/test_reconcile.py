"""Start-up logs reconciled: rules on the log's own numbers, predictions from flags, and lines that cannot be true."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.reconcile import ReconcileAnswer, ReconcileLine, reconcile
from kvwall.simulator.engine_logs import parse_engine_log

LOGS = Path(str(files("kvwall.validate"))) / "logs" / "startup"


def _given(answer: ReconcileAnswer) -> dict[str, ReconcileLine]:
    return {line.what: line for line in answer.lines if line.basis == "log"}


def _of(text: str, model: str = "llama-3.1-8b", on: str = "a100", **options: Any) -> ReconcileAnswer:
    return reconcile(parse_engine_log(text, "text.log"), model, on=on, **options)


# file, model, device, options, and what the log's own numbers determine: predicted figures by name.
REAL: list[tuple[str, str, str, dict[str, Any], dict[str, float]]] = [
    ("vllm-0.6-llama-3-8b-h100", "llama-3-8b", "h100", {}, {"KV pool": 53.28}),
    ("vllm-0.7-llama-3.1-70b-w8a8", "llama-3.1-70b", "h100", {}, {"concurrency": 1381 * 16 / 2048}),
    ("vllm-0.7.1-qwen2.5-32b-l40s-tp2", "qwen2.5-32b", "l40s", {}, {"KV pool": 7.7102, "blocks": 3947}),
    ("vllm-0.7.3-qwen2.5-7b-bnb4-rtx4060", "", "rtx-4060", {}, {"KV pool": -1.0532, "blocks": 0, "concurrency": 0}),
    ("vllm-0.7-deepseek-r1-h20-141gb-tp8-pp2", "deepseek-r1", "h200:16", {"tp": 8, "pp": 2}, {"KV pool": 97.29}),
    ("vllm-0.9-qwen3-235b-a22b-fp8-h100-tp4", "", "h100", {}, {"tokens": 180_928}),
    ("vllm-0.21-qwen3-8b-rtx-a5000", "qwen3-8b", "rtx-a5000", {}, {"tokens": 46_384, "concurrency": 2.83}),
    ("vllm-0.24-qwen3.6-35b-a3b-nvfp4-rtx5090", "qwen3.5-35b-a3b", "rtx-5090", {},
     {"tokens": 567_978, "concurrency": 299 / 69}),
    ("vllm-0.31-llama-3.1-8b-a100-80gb", "llama-3.1-8b", "a100", {},
     {"KV pool": 56.21, "tokens": 460_464, "concurrency": 460_496 / 131_072}),
    ("sglang-0.4.3-qwq-32b-l4-tp4", "qwen2.5-32b", "l4", {}, {"KV pool": 2.826, "tokens": 46_530}),
    ("sglang-qwen3-14b", "qwen3-14b", "l40s", {}, {"tokens": 91_750}),
    ("sglang-qwen3-235b-a22b-fp8-h100-tp4", "", "h100", {}, {"tokens": 367_224}),
    ("sglang-qwen3-omni-30b-a3b-tp4", "qwen3-30b-a3b", "h100:4", {}, {"tokens": 2_090_161}),
    ("trtllm-0.8-a100-80gb", "llama-2-7b", "a100", {}, {"tokens": 132_608}),
    ("trtllm-0.19-llama-3.1-8b-fp8-rtx5090", "llama-3.1-8b", "rtx-5090", {"kv_dtype": "fp8"},
     {"KV pool": 16.047, "blocks": 8217}),
    ("llamacpp-gpt-oss-120b-rocm", "gpt-oss-120b", "mi300x", {}, {"KV pool": 9306 / 1024}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "model", "on", "options", "expected"), REAL, ids=[row[0] for row in REAL])
def test_a_real_log_within_two_percent_of_its_own_numbers(
    name: str, model: str, on: str, options: dict[str, Any], expected: dict[str, float]
) -> None:
    lines = _given(reconcile(LOGS / f"{name}.log", model, on=on, **options))
    assert set(expected) <= set(lines)
    for what, value in expected.items():
        assert lines[what].kvwall == pytest.approx(value, rel=1e-3, abs=5e-3), what
        assert abs(value - lines[what].engine) <= 0.02 * abs(lines[what].engine), what
    if name != "vllm-0.9-qwen3-235b-a22b-fp8-h100-tp4":
        assert {line.verdict for line in lines.values()} == {"agrees"}


def test_the_log_tells_model_split_version_and_formats() -> None:
    answer = reconcile(LOGS / "vllm-0.7.3-qwen2.5-7b-bnb4-rtx4060.log", on="rtx-4060")
    assert (answer.model, answer.weights, answer.tp, answer.engine) == ("qwen2.5-7b", "nf4", 1, "vllm")
    assert answer.engine_version == "0.7.3.dev233+gad5a35c2"
    answer = reconcile(LOGS / "vllm-0.9-qwen3-235b-a22b-fp8-h100-tp4.log", on="h100")
    assert (answer.model, answer.weights, answer.gpus, answer.tp) == ("qwen3-235b-a22b", "fp8", 4, 4)
    assert "version not printed: the newest accounting is taken; give --engine-version" in answer.assumptions


def test_ranks_that_print_tell_the_split() -> None:
    answer = reconcile(LOGS / "vllm-0.8.5-qwen3-30b-a3b-a10-tp4.log", on="a10")
    weights = next(line for line in answer.lines if line.what == "weights")
    assert (answer.gpus, answer.tp, weights.verdict) == (4, 4, "within band")
    assert "tensor parallelism told by the 4 ranks that print their weights" in answer.assumptions


def test_options_override_the_log() -> None:
    answer = reconcile(LOGS / "vllm-0.9-qwen3-235b-a22b-fp8-h100-tp4.log", "qwen3-30b-a3b", on="h100:2", tp=2)
    assert (answer.model, answer.gpus, answer.tp) == ("qwen3-30b-a3b", 2, 2)


def test_uneven_ranks_are_named() -> None:
    line = _given(reconcile(LOGS / "vllm-0.9-qwen3-235b-a22b-fp8-h100-tp4.log", on="h100"))["tokens"]
    assert (line.engine, line.kvwall, line.verdict) == (178_880, 180_928, "differs")
    assert line.why == (
        "uneven ranks: tokens are the minimum over ranks, the printed pool may be another rank's "
        "(rule: floor(8.11 GiB / (16 x 48,128 B)) x 16)"
    )


def test_a_pipeline_that_the_engine_forgets_is_named() -> None:
    answer = reconcile(LOGS / "vllm-0.15.2-qwen3-coder-30b-a3b-fp8-pp2.log", "qwen3-30b-a3b", on="rtx-5090")
    line = _given(answer)["KV needed"]
    assert (answer.refused, line.engine, line.kvwall, line.verdict) == (True, 24.0, 12.0, "differs")
    assert "all layers are charged to one rank (24.00 GiB) although 2 pipeline stages split them" in line.why


def test_a_draft_that_the_log_does_not_print_is_found() -> None:
    # 205 blocks of 26.6 MiB hold 164 blocks of 1,600 tokens and 3 x 5 pages of state 1.1452 times.
    log = LOGS / "vllm-qwen3.6-27b-fp8-tp2.log"
    line = _given(reconcile(log, on="rtx-3090"))["tokens"]
    assert line.why.startswith("agrees with --speculative mtp:3")
    told = _given(reconcile(log, on="rtx-3090", speculative="mtp:3"))["tokens"]
    assert (told.engine, told.kvwall, told.verdict) == (300_220, 300_220, "agrees")


def test_a_refusal_names_what_one_request_needs() -> None:
    text = (
        "ValueError: To serve at least one request with the models's max seq len (131072), (2.15 GiB KV cache is "
        "needed, which is larger than the available KV cache memory (1.50 GiB). Based on the available memory, the "
        "estimated maximum model length is 87808."
    )
    answer = _of(text, "qwen3.5-27b", "rtx-5070-ti:2", kv_dtype="fp8")
    lines = _given(answer)
    assert answer.refused
    assert lines["KV needed"].kvwall == pytest.approx(90 * 16 * 1568 * 1024 / 2**30)
    assert lines["longest sequence"].kvwall == 87_808
    assert {line.verdict for line in lines.values()} == {"agrees"}
    assert "the engine says in this log that it cannot start" in answer.warnings


IMPOSSIBLE = [
    ("# GPU blocks: 8348, # CPU blocks: 512", "llama-2-7b", "a10", "blocks",
     "8,348 blocks x 8,388,608 B need 65.2 GiB, more than the 22.49 GiB of one NVIDIA A10"),
    ("Available KV cache memory: 5.0 GiB\nGPU KV cache size: 1,000,000 tokens", "llama-3.1-8b", "a10", "tokens",
     "1,000,000 tokens x 131,072 B need 122.1 GiB, more than the 22.49 GiB of one NVIDIA A10"),
    ("Model loading took 95.2 GiB memory and 5 seconds", "llama-3.1-8b", "a100", "weights",
     "more than the 80.00 GiB of one NVIDIA A100 SXM4 80GB"),
    ("Model loading took 60.0 GiB memory and 5 seconds\nAvailable KV cache memory: 40.0 GiB", "llama-3.1-8b", "a100",
     "KV pool",
     "weights, activations and pools together are 100.0 GiB, more than the 80.00 GiB of one NVIDIA A100 SXM4 80GB"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "model", "on", "what", "why"), IMPOSSIBLE)
def test_a_line_that_cannot_be_true(text: str, model: str, on: str, what: str, why: str) -> None:
    found = [line for line in _of(text, model, on).lines if line.verdict == "impossible"]
    assert {(line.what, line.why) for line in found} == {(what, why)}


def test_negative_graph_memory_cannot_be_true() -> None:
    answer = reconcile(LOGS / "vllm-0.10-b200-graph-memory.log", "gemma-3-4b", on="b200")
    found = [(line.what, line.engine) for line in answer.lines if line.verdict == "impossible"]
    assert found == [("CUDA graphs", -9.96)]
    assert any("CUDA graphs -9.96 GiB cannot be true" in warning for warning in answer.warnings)


def test_a_negative_pool_is_a_refusal_and_no_impossibility() -> None:
    answer = reconcile(LOGS / "vllm-0.10-gpt-oss-120b-h100.log", "gpt-oss-120b", on="h100")
    assert answer.refused
    assert {line.verdict for line in answer.lines} == {"within band"}


def test_weights_far_beyond_their_parameters_are_flagged() -> None:
    # 3.2 B parameters at 16 bits are 6.0 GiB; twice that is loaded.
    answer = _of("Model loading took 12.81 GiB memory and 5 seconds", "llama-3.2-3b")
    line = next(line for line in answer.lines if line.what == "weights")
    assert line.verdict == "differs"
    assert "2.14 times that is loaded, so another format, a second copy or a draft is resident" in line.why


def test_another_process_is_named() -> None:
    answer = reconcile(LOGS / "vllm-0.10-b200-graph-memory.log", "gemma-3-4b", on="b200")
    line = next(line for line in answer.lines if line.what == "non-torch")
    assert line.why == "more than context and communication buffers take: another process on the GPU, or NCCL buffers"


def test_a_prediction_from_flags_has_a_band_and_a_cause() -> None:
    answer = reconcile(LOGS / "vllm-0.7.1-qwen2.5-32b-l40s-tp2.log", "qwen2.5-32b", on="l40s")
    lines = {line.what: line for line in answer.lines if line.basis == "flags"}
    assert {what: line.verdict for what, line in lines.items()} == {
        "weights": "within band",
        "activation peak": "within band",
        "non-torch": "agrees",
        "KV pool": "within band",
        "blocks": "within band",
    }
    assert lines["KV pool"].ratio == pytest.approx(1, abs=0.03)
    assert "max_num_seqs 256 x vocabulary 152064" in lines["activation peak"].why


@pytest.mark.parametrize(
    ("text", "model", "on", "message"),
    [
        ("# GPU blocks: 100", "", "a10", "text.log: the log does not say which model: give MODEL (kvwall list models)"),
        (
            "# GPU blocks: 100",
            "llama-2-7b",
            "",
            "text.log: the log does not say which GPU: add --on DEVICE (kvwall list devices)",
        ),
        (
            "vllm serve someone/lama-3.1-8b-Instruct\n# GPU blocks: 100",
            "",
            "a10",
            "text.log: the log names the model 'someone/lama-3.1-8b-Instruct': unknown model 'lama-3.1-8b'; did you "
            "mean 'llama-3.1-8b'?: give MODEL, or the path of its config.json",
        ),
    ],
)
def test_what_cannot_be_told_is_asked_for(text: str, model: str, on: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        _of(text, model, on)
    assert str(error.value) == message


def test_a_device_is_told_by_its_memory_where_only_one_fits() -> None:
    text = "Free memory on device (31.2/31.84 GiB) on startup. Desired GPU memory utilization is (0.9, 28.66 GiB)."
    answer = _of(text, on="")
    assert (answer.device, answer.gpus) == ("rtx-5090", 1)
    assert any(note.startswith("device told by its 31.84 GiB: rtx-5090") for note in answer.assumptions)
    with pytest.raises(InputError) as error:
        _of(text.replace("31.84", "79.2").replace("31.2/", "70/"), on="")
    assert "a GPU of 79.20 GiB could be any of a100-pcie-80gb, a100-sxm4-80gb" in str(error.value)
    assert str(error.value).endswith(": add --on DEVICE")
