"""Start-up logs of serving engines: vLLM, SGLang, TensorRT-LLM and llama.cpp.

:func:`read_engine_log` and :func:`parse_engine_log` turn one into an :class:`EngineLog`: the engine, its version,
model and flags, and every size that it prints, each with the printed text, its line, its unit and half of its last
printed digit. They read what stands there and judge nothing.
"""

from kvwall.simulator.engine_logs.fact import FACTS, EngineLog, Fact, Reading
from kvwall.simulator.engine_logs.parse import ENGINES, LARGEST_LOG_BYTES, parse_engine_log, read_engine_log

__all__ = [
    "ENGINES",
    "FACTS",
    "LARGEST_LOG_BYTES",
    "EngineLog",
    "Fact",
    "Reading",
    "parse_engine_log",
    "read_engine_log",
]
