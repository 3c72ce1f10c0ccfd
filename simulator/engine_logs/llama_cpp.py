"""How llama.cpp writes its start-up log, and Ollama and the bindings that print its lines.

It lists buffers per device, and host memory among them; only devices count here. The "rank" of a fact is the device
(``CUDA0``). Models with windows have one KV cache for the full layers and one for the windowed: both are held.
"""

from __future__ import annotations

from kvwall.simulator.engine_logs.pattern import EngineGrammar, Keep, Stage, pattern, sought

_DEVICE = r"(?<![\w])(?!CPU|BLAS|KleidiAI|AMX)<rank>"
_CONTEXT = r"(?:llama_context|llama_new_context_with_model|llama_init_from_model): "

_WEIGHTS = (
    pattern(Stage.WEIGHTS, "MiB free", r"using device <rank> \(.{1,120}- <free_memory_bytes> <unit> free"),
    pattern(
        Stage.WEIGHTS,
        "buffer size =",
        rf"load_tensors: +{_DEVICE}(?:_Mapped)? (?:model )?buffer size = *<weights_bytes> <unit>",
    ),
)

_POOL = (
    pattern(Stage.POOL, "n_ctx ", rf"{_CONTEXT}n_ctx += <kv_tokens>$"),
    pattern(Stage.POOL, "n_ctx_", rf"{_CONTEXT}n_ctx_(?:per_)?seq += <max_model_len>$"),
    pattern(Stage.POOL, "n_seq_max", rf"{_CONTEXT}n_seq_max += <max_num_seqs>$"),
    pattern(Stage.POOL, "KV buffer size", rf"{_DEVICE} KV buffer size = *<kv_bytes> <unit>"),
    pattern(Stage.POOL, "KV self size", r"KV self size *= *<kv_all_ranks_bytes> <unit>"),
    pattern(Stage.POOL, " cells,", r"llama_kv_cache\w*: size = *<kv_all_ranks_bytes> <unit> \( *\d+ cells"),
    pattern(Stage.POOL, "RS buffer size", rf"{_DEVICE} RS buffer size = *<state_bytes> <unit>"),
    pattern(Stage.GRAPHS, "compute buffer size", rf"{_DEVICE} compute buffer size = *<activation_bytes> <unit>"),
)

LLAMA_CPP = EngineGrammar(
    name="llamacpp",
    title="llama.cpp",
    examples=("KV buffer size", "KV self size"),
    patterns=(*_WEIGHTS, *_POOL),
    start=(
        sought("build: ", r"\bbuild: \d{1,9} \([0-9a-f]{7,40}\) with"),
        sought("build_info: ", r"\bbuild_info: b\d"),
        sought("starting ", r"starting (?:llama[ -]server|runner)"),
    ),
    models=(sought("general.name", r"general\.name {1,20}= (\S.{0,100}?)\s*$"),),
    versions=(sought("build: ", r"\bbuild: (\d{1,9}) \("), sought("build_info: ", r"\bbuild_info: (b\d{1,9})")),
    configuration=(),
    command=("llama-server ", "llama-cli "),
    flags={"model": "model", "m": "model", "ctx_size": "max_model_len", "c": "max_model_len"},
    flag_lines=(
        ("kv_dtype", sought(", K (", r", K \((\w{1,12})\):")),
        ("max_num_batched_tokens", sought("n_ubatch", r"n_ubatch += (\d{1,12})")),
    ),
    refusals=("failed to allocate", "failed to create context"),
    keep={
        "weights_bytes": Keep.SUM,
        "kv_bytes": Keep.SUM,
        "kv_all_ranks_bytes": Keep.SUM,
        "state_bytes": Keep.SUM,
        "activation_bytes": Keep.LAST,
    },
)
