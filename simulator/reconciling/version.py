"""Which version of an engine wrote a log that does not print it."""

from __future__ import annotations

from kvwall.simulator.engine_logs import EngineLog

#: Facts that only some versions of vLLM print, the telling ones first, with a version of that accounting.
_FACTS = (
    ("consumed_bytes", "0.31", "weights and non-torch memory in one line"),
    ("graph_estimate_bytes", "0.21", "an estimate of graph memory"),
    ("budget_bytes", "0.7", "a sum of the memory budget before the pool"),
    ("peak_torch_bytes", "0.6", "a peak of torch memory"),
    ("gpu_blocks", "0.7", "a number of GPU blocks"),
)
#: Names of the process that prints, the telling ones first.
_PROCESSES = (
    ("EngineCore_DP", "0.14", "processes called EngineCore_DP"),
    ("EngineCore_", "0.10", "processes called EngineCore_0"),
    ("EngineCore", "0.24", "a process called EngineCore"),
    ("VllmWorker rank", "0.8", "processes called VllmWorker"),
)


def told_version(log: EngineLog) -> tuple[str | None, str | None]:
    """A version whose accounting ``log`` shows, and the sentence that says how it was told (``None`` if printed)."""
    if log.version is not None:
        return log.version, None
    if log.engine != "vllm":
        return None, f"{log.engine}: the log prints no version, so the newest accounting is taken"
    for fact, version, sign in _FACTS:
        # The budget is also part of a late line since 0.10, beside the free memory.
        if fact in log.readings and not (fact == "budget_bytes" and "free_memory_bytes" in log.readings):
            return version, f"version not printed: {sign}, as in vLLM {version} or near it"
    ranks = [reading.lowest.rank for reading in log.readings.values()]
    for word, version, sign in _PROCESSES:
        if any(rank.startswith(word) for rank in ranks):
            return version, f"version not printed: {sign}, as in vLLM {version} or near it"
    if "free_memory_bytes" in log.readings:
        return "0.14", "version not printed: a summary of memory in use, as in vLLM 0.10 to 0.20"
    return None, "version not printed: the newest accounting is taken; give --engine-version"
