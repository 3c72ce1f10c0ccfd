"""Start-up logs: every quoted log gives the numbers that stand in it, and a file that is none is refused."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from kvwall.hardware.errors import InputError
from kvwall.simulator.engine_logs import EngineLog, parse_engine_log, read_engine_log

LOGS = Path(str(files("kvwall.validate"))) / "logs" / "startup"
INDEX: list[dict[str, Any]] = yaml.safe_load((LOGS / "index.yaml").read_text(encoding="utf-8"))["logs"]
GIB = 2**30

NOTHING_FOUND = (
    "x.log: no start-up line of a known serving engine found; looked for lines of "
    "vLLM ('Available KV cache memory', '# GPU blocks'); "
    "SGLang ('KV Cache is allocated', 'max_total_num_tokens'); "
    "TensorRT-LLM ('for max tokens in paged KV cache', 'Number of blocks in KV cache primary pool'); "
    "llama.cpp ('KV buffer size', 'KV self size')"
)


def text_of(name: str) -> str:
    return (LOGS / f"{name}.log").read_text(encoding="utf-8")


def read(name: str) -> EngineLog:
    return read_engine_log(LOGS / f"{name}.log")


def stated(log: EngineLog) -> dict[str, str]:
    return {name: str(reading) for name, reading in log.readings.items()}


def message(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_engine_log(text, "x.log")
    return str(caught.value)


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["file"].removesuffix(".log"))
def test_a_quoted_log_states_what_was_read_off_it_by_hand(entry: dict[str, Any]) -> None:
    log = read_engine_log(LOGS / entry["file"])
    assert stated(log) == entry["states"]
    assert (log.engine, log.version, log.refused, log.starts) == (
        entry["engine"],
        entry["version"],
        entry["refused"],
        1,
    )
    contradicted = {
        name: (log.flags[name], value)
        for name, value in entry["flags"].items()
        if name in log.flags and log.flags[name] != value
    }
    assert not contradicted


def test_the_index_names_every_log_once_and_only_what_the_libraries_hold() -> None:
    assert sorted(entry["file"] for entry in INDEX) == sorted(path.name for path in LOGS.glob("*.log"))
    models = {path.stem for path in (Path(str(files("kvwall.workloads"))) / "models").glob("*.yaml")}
    devices = {path.stem for path in (Path(str(files("kvwall.hardware"))) / "devices").glob("*.yaml")}
    assert {entry["model"] for entry in INDEX} - {None} <= models
    assert {entry["device"] for entry in INDEX} - {None} <= devices
    assert all(entry["source"] for entry in INDEX)


def test_a_fact_keeps_its_text_line_unit_and_half_width() -> None:
    kv = read("vllm-0.7.1-qwen2.5-32b-l40s-tp2").readings["kv_bytes"]
    assert kv.ranks == 2
    assert (kv.lowest.value, kv.lowest.half_width) == (7.71 * GIB, 0.005 * GIB)
    assert (kv.lowest.printed, kv.lowest.unit, kv.lowest.line) == ("7.71", "GiB", 7)
    assert kv.lowest.rank == "VllmWorkerProcess pid=3280379"


def test_the_finest_print_of_a_fact_stands() -> None:
    # The same weights are printed as "30.7098 GB" when loaded and as "30.71GiB" by the profile.
    weights = read("vllm-0.7.1-qwen2.5-32b-l40s-tp2").readings["weights_bytes"].lowest
    assert (weights.value, weights.line) == (30.7098 * GIB, 3)


def test_gb_in_a_log_is_gib_and_the_halves_of_a_pool_add_up() -> None:
    log = read("sglang-qwen3-14b")
    kv = log.readings["kv_bytes"].lowest
    assert (kv.value, kv.half_width, kv.unit) == (14.0 * GIB, 0.01 * GIB, "GB")
    # 40 layers of 8 heads of 128 channels, K and V, two bytes: 163,840 bytes a token. 1e9 would give 152,588.
    assert kv.value / 91749 == pytest.approx(163_840, rel=1e-3)


def test_llama_cpp_prints_mib_a_device_and_host_buffers_do_not_count() -> None:
    log = read("llamacpp-two-gpus")
    assert log.lowest("weights_bytes") == 5434.38 * 2**20
    assert log.highest("weights_bytes") == 13989.53 * 2**20
    assert {log.readings["kv_bytes"].lowest.rank, log.readings["kv_bytes"].highest.rank} == {"CUDA0", "CUDA1"}


def test_bytes_printed_as_bytes_are_exact() -> None:
    kv = read("trtllm-0.8-a100-80gb").readings["kv_bytes"].lowest
    assert (kv.value, kv.half_width) == (69_524_783_104.0, 0.0)
    consumed = read("trtllm-0.8-a100-80gb").readings["consumed_bytes"].lowest
    assert (consumed.value, consumed.half_width) == (6683 * 2**20, 0.5 * 2**20)


def test_ranks_that_differ_give_their_smallest_and_their_largest() -> None:
    log = read("vllm-0.8.3-qwen2.5-vl-72b-a100-40gb-tp4")
    assert (log.lowest("kv_bytes"), log.highest("kv_bytes")) == (0.04 * GIB, 0.13 * GIB)
    assert log.readings["kv_bytes"].ranks == 3


def test_what_a_log_does_not_state_is_none_and_a_fact_that_is_none_is_a_mistake() -> None:
    log = read("vllm-0.9-qwen3-235b-a22b-fp8-h100-tp4")
    assert log.lowest("weights_bytes") is None
    with pytest.raises(KeyError, match="'weight_bytes' is no fact of a start-up log"):
        log.lowest("weight_bytes")


def test_flags_come_from_the_configuration_line() -> None:
    log = read("sglang-0.4.3-qwq-32b-l4-tp4")
    assert log.model == "Qwen/QwQ-32B"
    assert log.flags == {
        "tp": 4,
        "dp": 1,
        "kv_dtype": "auto",
        "dtype": "auto",
        "static_fraction": 0.85,
        "max_num_batched_tokens": 2048,
        "eager": False,
    }


def test_flags_come_from_the_command_line() -> None:
    log = read("vllm-0.6-llama-3.2-11b-vision-h100")
    assert log.model == "meta-llama/Llama-3.2-11B-Vision"
    assert log.flags == {"max_model_len": 65536, "max_num_seqs": 128, "eager": True}


def test_a_served_name_and_a_nested_model_are_not_the_model() -> None:
    log = parse_engine_log(
        "non-default args: {'served_model_name': ['a'], 'model': 'b', 'speculative_config': {'model': 'c'}}\n"
        "Available KV cache memory: 1.00 GiB\n",
        "x.log",
    )
    assert log.model == "b"


def test_a_later_line_settles_what_the_configuration_left_to_the_engine() -> None:
    log = parse_engine_log(
        "server_args=ServerArgs(kv_cache_dtype='auto')\nUsing KV cache dtype: torch.float8_e4m3fn\n", "x.log"
    )
    assert log.flags["kv_dtype"] == "float8_e4m3fn"


@pytest.mark.parametrize(
    ("first", "second", "stands"),
    [
        ("vllm-0.6-llama-3-8b-h100", "vllm-0.7.1-qwen2.5-32b-l40s-tp2", "vllm-0.7.1-qwen2.5-32b-l40s-tp2"),
        ("vllm-0.7.1-qwen2.5-32b-l40s-tp2", "vllm-0.6-llama-3-8b-h100", "vllm-0.6-llama-3-8b-h100"),
        # The second start never gets to its KV pool.
        ("vllm-0.6-llama-3-8b-h100", "vllm-0.6-llama-3-8b-h100-tp2", "vllm-0.6-llama-3-8b-h100"),
    ],
)
def test_the_last_complete_start_of_a_file_stands(first: str, second: str, stands: str) -> None:
    log = parse_engine_log(text_of(first) + text_of(second), "x.log")
    alone = read(stands)
    assert (stated(log), log.flags, log.model, log.starts) == (stated(alone), alone.flags, alone.model, 2)
    if stands == second:
        assert log.first_line == len(text_of(first).splitlines()) + alone.first_line


def test_a_crash_while_weights_load_leaves_nothing_to_the_next_start() -> None:
    banner = "INFO [api_server.py:1043] vLLM API server version 0.8.5\n"
    log = parse_engine_log(
        f"{banner}(Worker pid=1) Model loading took 9.00 GiB\n"
        f"{banner}(Worker pid=2) Model loading took 8.00 GiB\nAvailable KV cache memory: 1.00 GiB\n",
        "x.log",
    )
    assert stated(log) == {"weights_bytes": "8.00 GiB", "kv_bytes": "1.00 GiB"}
    assert log.starts == 2


def test_engines_of_one_start_announce_themselves_one_by_one() -> None:
    log = parse_engine_log(
        "(EngineCore_DP0 pid=1) Initializing a V1 LLM engine (v0.11.0) with config: model='m', data_parallel_size=2\n"
        "(EngineCore_DP0 pid=1) Model loading took 8.00 GiB\n"
        "(EngineCore_DP1 pid=2) Initializing a V1 LLM engine (v0.11.0) with config: model='m', data_parallel_size=2\n"
        "(EngineCore_DP1 pid=2) Model loading took 8.01 GiB\n",
        "x.log",
    )
    assert (stated(log), log.starts, log.version) == ({"weights_bytes": "8.00 GiB to 8.01 GiB"}, 1, "0.11.0")


def test_the_engine_with_most_lines_wins() -> None:
    log = parse_engine_log(text_of("vllm-0.9-qwen3-235b-a22b-fp8-h100-tp4") + text_of("sglang-qwen3-14b"), "x.log")
    assert log.engine == "sglang"


def test_colours_prefixes_and_windows_line_ends_change_nothing() -> None:
    plain = text_of("vllm-0.7.1-qwen2.5-32b-l40s-tp2")
    dressed = "".join(f"server-1  | \x1b[0;36m{line}\x1b[0m\r\n" for line in plain.splitlines())
    assert parse_engine_log(dressed, "x.log") == parse_engine_log(plain, "x.log")


def test_a_log_that_powershell_wrote_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "start.log"
    path.write_text(text_of("llamacpp-two-gpus"), encoding="utf-16")
    assert stated(read_engine_log(path)) == stated(read("llamacpp-two-gpus"))


def test_bytes_that_are_no_text_elsewhere_in_a_log_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "start.log"
    path.write_bytes(b"\xff\xfa progress \xe2\n" + text_of("sglang-qwen3-14b").encode())
    assert stated(read_engine_log(path)) == stated(read("sglang-qwen3-14b"))


@pytest.mark.parametrize("text", ["Hello\n", "docker build: 12 (latest)\n", "vllm serve model\n", "1 GiB of weights"])
def test_text_of_no_engine_says_what_was_looked_for(text: str) -> None:
    assert message(text) == NOTHING_FOUND


@pytest.mark.parametrize("text", ["", "\n \n\t\n"])
def test_an_empty_log_is_refused(text: str) -> None:
    assert message(text) == "x.log: is empty, expected the start-up log of a serving engine"


def test_a_binary_log_is_refused() -> None:
    assert message("fine\n\0\1\2") == "x.log: line 2: is binary, expected the text of a start-up log"


def test_too_much_text_is_refused() -> None:
    assert message("x" * 50_000_001) == (
        "x.log: 50,000,001 characters is too large for a start-up log (at most 50,000,000)"
    )


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.log"
    with large.open("wb") as sparse:
        sparse.truncate(50_000_001)
    expected = {
        tmp_path: f"{tmp_path}: is a folder, expected a log file",
        tmp_path / "none.log": f"{tmp_path / 'none.log'}: cannot be read (No such file or directory)",
        large: f"{large}: 50,000,001 bytes is too large for a start-up log (at most 50,000,000)",
    }
    for path, refusal in expected.items():
        with pytest.raises(InputError) as caught:
            read_engine_log(path)
        assert str(caught.value) == refusal
