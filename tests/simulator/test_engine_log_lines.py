"""The lines of start-up logs: each kind that is looked for is read from a line, and no text gives a traceback."""

from __future__ import annotations

from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvwall.hardware.errors import InputError
from kvwall.simulator.engine_logs import ENGINES, FACTS, EngineLog, parse_engine_log
from kvwall.simulator.engine_logs.pattern import number

LOGS = Path(str(files("kvwall.validate"))) / "logs" / "startup"

#: Lines that no quoted log holds, as the engines' sources format them, with what each states.
FURTHER_LINES = {
    "Setting attention block size to 1568 tokens to ensure": {"block_size": "1568"},
    "CUDA graph pool memory: 0.11 GiB (actual), 0.14 GiB (estimated), difference: 0.03 GiB": {
        "graph_bytes": "0.11 GiB"
    },
    "INFO Memory profiling results: total_gpu_memory=44.53GiB initial_memory_usage=18.31GiB peak_torch_memory=19.73GiB "
    "memory_usage_post_profile=18.42GiB non_torch_memory=0.62GiB kv_cache_size=17.50GiB gpu_memory_utilization=0.85": {
        "total_memory_bytes": "44.53 GiB",
        "peak_torch_bytes": "19.73 GiB",
        "non_torch_bytes": "0.62 GiB",
        "kv_bytes": "17.50 GiB",
        "utilization": "0.85",
    },
    "[2025-06-01 10:00:00 DP0 TP0] KV Cache is allocated. #tokens: 131072, KV size: 8.58 GB": {
        "kv_tokens": "131072",
        "kv_bytes": "8.58 GB",
    },
    "[TensorRT-LLM][INFO] Loaded engine size: 922 MiB": {"weights_bytes": "922 MiB"},
    "[I] Memory used after loading model weights (inside torch) in memory usage profiling: 4.00 GiB": {
        "weights_bytes": "4.00 GiB"
    },
    "[TensorRT-LLM][INFO] [MemUsageChange] Allocated 2265.58 MiB for execution context memory.": {
        "activation_bytes": "2265.58 MiB"
    },
    "[TensorRT-LLM][INFO] TRTGptModel maxSequenceLen: 1024": {"max_model_len": "1024"},
    "[TensorRT-LLM][INFO] TRTGptModel maxNumSequences: 256": {"max_num_seqs": "256"},
    "[I] max_seq_len=131072, max_num_requests=2048, max_num_tokens=8192": {
        "max_model_len": "131072",
        "max_num_seqs": "2048",
    },
    "Max KV cache blocks per sequence: 256 [window size=16384], tokens per block=64, primary blocks=618, "
    "secondary blocks=0, max sequence length=16384": {
        "block_size": "64",
        "gpu_blocks": "618",
        "max_model_len": "16384",
    },
    "llama_model_load_from_file_impl: using device CUDA0 (NVIDIA GeForce RTX 4080 SUPER) - 15035 MiB free": {
        "free_memory_bytes": "15035 MiB"
    },
    "llama_memory_recurrent:      CUDA0 RS buffer size =   190.31 MiB": {"state_bytes": "190.31 MiB"},
    "load_tensors: Metal_Mapped model buffer size =  4685.30 MiB": {"weights_bytes": "4685.30 MiB"},
}
LINES = [line for path in LOGS.glob("*.log") for line in path.read_text(encoding="utf-8").splitlines()]


def stated(log: EngineLog) -> dict[str, str]:
    return {name: str(reading) for name, reading in log.readings.items()}


@pytest.mark.parametrize("line", FURTHER_LINES)
def test_a_line_that_no_quoted_log_holds(line: str) -> None:
    assert stated(parse_engine_log(line, "x.log")) == FURTHER_LINES[line]


@pytest.mark.parametrize("grammar", ENGINES, ids=lambda grammar: grammar.name)
def test_every_pattern_of_an_engine_reads_a_line_that_is_tested(grammar: Any) -> None:
    for pattern in grammar.patterns:
        read_names = {name for line in (*LINES, *FURTHER_LINES) for name, _ in pattern.facts(line, 1, "main")}
        assert read_names, pattern
        assert read_names <= set(FACTS), pattern
        has_bytes = any(name.endswith("_bytes") for name in read_names)
        assert ("unit" in pattern.regex.groupindex) == has_bytes, pattern
    assert set(grammar.keep) <= set(FACTS)


@given(st.text(max_size=300))
def test_no_text_gives_anything_but_an_input_error(text: str) -> None:
    with suppress(InputError):
        parse_engine_log(text, "x.log")


@given(st.data())
def test_no_mangled_log_gives_anything_but_an_input_error(data: st.DataObject) -> None:
    lines = data.draw(st.lists(st.sampled_from(LINES), min_size=1, max_size=12))
    text = "\n".join(lines)
    cut = data.draw(st.integers(0, len(text)))
    inserted = data.draw(st.text(st.sampled_from("0123456789.,-() =xGiB\n\x1b[m٣"), max_size=20))
    try:
        log = parse_engine_log(text[:cut] + inserted + text[cut:], "x.log")
    except InputError:
        return
    assert all(reading.lowest.value <= reading.highest.value for reading in log.readings.values())


@pytest.mark.parametrize(
    ("printed", "value", "half_width"),
    [("7.71", 7.71, 0.005), ("1,823,372", 1_823_372, 0), ("-2.14", -2.14, 0.005), ("0.9764", 0.9764, 0.00005)],
)
def test_a_number_has_half_of_its_last_digit(printed: str, value: float, half_width: float) -> None:
    assert number(printed) == pytest.approx((value, half_width))


def test_a_number_beyond_all_floats_is_no_fact() -> None:
    assert number("9" * 400) is None
    assert not parse_engine_log(f"GPU KV cache size: {'9' * 400} tokens\nModel loading took 1 GiB\n", "x").lowest(
        "kv_tokens"
    )
