"""What a start-up log of a serving engine states: facts, their readings over ranks, and the log they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Every name a fact may have, with what it is. All are amounts of one rank (one GPU) unless they say otherwise.
FACTS: Mapping[str, str] = {
    "weights_bytes": "loaded weights",
    "consumed_bytes": "weights and everything else held before the KV pool is made (newest vLLM, TensorRT-LLM)",
    "activation_bytes": "peak of the profiling pass, or the buffers that stand for it",
    "non_torch_bytes": "held outside the framework's allocator: context, communication buffers",
    "communication_bytes": "taken while the ranks connect (SGLang), part of what is not torch",
    "peak_torch_bytes": "peak of the framework's allocator: weights and activations together (vLLM 0.6)",
    "graph_bytes": "captured CUDA graphs",
    "graph_estimate_bytes": "graphs as estimated before the KV pool is sized",
    "kv_bytes": "KV pool",
    "kv_all_ranks_bytes": "KV pool over all GPUs together (llama.cpp)",
    "kv_tokens": "tokens the KV pool holds (llama.cpp: n_ctx, over all slots)",
    "gpu_blocks": "blocks of the KV pool",
    "cpu_blocks": "blocks of the swap space in host memory",
    "block_size": "tokens in one block",
    "concurrency": "requests of max_model_len tokens that fit at once",
    "max_model_len": "longest sequence in tokens",
    "max_num_seqs": "most sequences at once",
    "total_memory_bytes": "memory of the GPU as the driver shows it to the process",
    "free_memory_bytes": "free memory before the engine takes any",
    "utilization": "fraction of the total memory that the engine may use",
    "budget_bytes": "utilization times total memory",
    "needed_bytes": "KV bytes that one request of max_model_len tokens needs (a refusal)",
    "available_bytes": "KV bytes that were available to it (a refusal)",
    "estimated_max_len": "longest sequence that would have fitted, in tokens (a refusal)",
    "state_bytes": "recurrent state (convolution and state-space) of all slots",
    "state_slots": "sequences whose recurrent state is held",
    "free_after_weights_bytes": "free memory once the weights are loaded",
    "free_after_pool_bytes": "free memory once the KV pool is made",
    "free_after_graphs_bytes": "free memory once the graphs are captured",
}


@dataclass(frozen=True)
class Fact:
    """One number that one line of a log prints.

    ``value`` and ``half_width`` are in base units (bytes, tokens, a plain ratio); ``half_width`` is half of the last
    printed digit (0.005 GiB for ``7.71``), 0 for a count. ``printed`` and ``unit`` are as the engine wrote them.
    """

    value: float
    half_width: float
    printed: str
    unit: str
    line: int
    rank: str

    def __str__(self) -> str:
        return f"{self.printed} {self.unit}".rstrip()


@dataclass(frozen=True)
class Reading:
    """One fact over the ranks that print it; on one rank ``lowest`` and ``highest`` are the same fact."""

    lowest: Fact
    highest: Fact
    ranks: int

    def __str__(self) -> str:
        if self.lowest.value == self.highest.value:
            return str(self.lowest)
        return f"{self.lowest} to {self.highest}"


@dataclass(frozen=True)
class EngineLog:
    """What the last complete start in a log of a serving engine states.

    ``engine`` is ``vllm``, ``sglang``, ``trtllm`` or ``llamacpp``. ``flags`` holds what the configuration lines say,
    under kvwall's names (``tp``, ``pp``, ``kv_dtype``, ``memory_utilization`` ...). ``readings`` maps names of
    :data:`FACTS` to what was printed. ``refused`` is true when the engine says that it cannot start.
    """

    where: str
    engine: str
    version: str | None
    model: str | None
    flags: Mapping[str, str | int | float | bool]
    readings: Mapping[str, Reading]
    refused: bool
    first_line: int
    last_line: int
    starts: int

    def lowest(self, name: str) -> float | None:
        """The smallest value of ``name`` over the ranks, in base units; None where the log does not state it."""
        self._check(name)
        return self.readings[name].lowest.value if name in self.readings else None

    def highest(self, name: str) -> float | None:
        """The largest value of ``name`` over the ranks, in base units; None where the log does not state it."""
        self._check(name)
        return self.readings[name].highest.value if name in self.readings else None

    def _check(self, name: str) -> None:
        if name not in FACTS:
            raise KeyError(f"{name!r} is no fact of a start-up log")
