"""How SGLang writes its start-up log (and KTransformers, which serves through it)."""

from __future__ import annotations

from kvwall.simulator.engine_logs.pattern import EngineGrammar, Keep, Stage, pattern, sought

_WEIGHTS = (
    pattern(
        Stage.WEIGHTS,
        "distributed ends",
        r"Init torch distributed ends\..{0,300}?mem usage=<communication_bytes> <unit>",
    ),
    pattern(Stage.WEIGHTS, "Load weight begin", r"Load weight begin\. avail mem=<free_memory_bytes> <unit>"),
    pattern(Stage.WEIGHTS, "Load weight end", r"Load weight end\..{0,300}?avail mem=<free_after_weights_bytes> <unit>"),
    pattern(Stage.WEIGHTS, "Load weight end", r"Load weight end\..{0,300}?mem usage=<weights_bytes> <unit>"),
)

_POOL = (
    pattern(
        Stage.POOL,
        "Mamba Cache is allocated",
        r"max_mamba_cache_size: <state_slots>, conv_state size: <state_bytes__convolution> ?GB, "
        r"ssm_state size: <state_bytes__ssm> ?<unit>",
    ),
    pattern(Stage.POOL, "KV Cache is allocated", r"#tokens: <kv_tokens>, KV size: <kv_bytes> <unit>"),
    pattern(
        Stage.POOL,
        "KV Cache is allocated",
        r"#tokens: <kv_tokens>, K size: <kv_bytes__keys> GB, V size: <kv_bytes__values> <unit>",
    ),
    pattern(Stage.POOL, "Memory pool end", r"Memory pool end\. avail mem=<free_after_pool_bytes> ?<unit>"),
)

_GRAPHS = (
    pattern(Stage.GRAPHS, "Capture cuda graph end", r"graph end\..{0,300}?mem usage=<graph_bytes> <unit>"),
    pattern(Stage.GRAPHS, "Capture cuda graph end", r"graph end\..{0,300}?avail mem=<free_after_graphs_bytes> <unit>"),
    pattern(Stage.GRAPHS, "max_total_num_tokens=", r"max_total_num_tokens=<kv_tokens>\b"),
    pattern(Stage.GRAPHS, "max_total_num_tokens=", r", max_running_requests=<max_num_seqs>\b"),
    pattern(Stage.GRAPHS, "max_total_num_tokens=", r", context_len=<max_model_len>\b"),
    pattern(Stage.GRAPHS, "available_gpu_mem=", r"available_gpu_mem=<free_after_graphs_bytes> <unit>"),
)

SGLANG = EngineGrammar(
    name="sglang",
    title="SGLang",
    examples=("KV Cache is allocated", "max_total_num_tokens"),
    patterns=(*_WEIGHTS, *_POOL, *_GRAPHS),
    start=(sought("ServerArgs(", r"server_args=ServerArgs\("),),
    models=(),
    versions=(sought("sglang", r"\bsglang(?: version|==)[ :=]{0,3}v?(\d\S{0,60})"),),
    configuration=("server_args=ServerArgs(",),
    command=("sglang.launch_server", "sglang serve "),
    flags={
        "model_path": "model",
        "model": "model",
        "tp_size": "tp",
        "tensor_parallel_size": "tp",
        "tp": "tp",
        "pp_size": "pp",
        "dp_size": "dp",
        "kv_cache_dtype": "kv_dtype",
        "dtype": "dtype",
        "quantization": "quantization",
        "context_length": "max_model_len",
        "mem_fraction_static": "static_fraction",
        "max_running_requests": "max_num_seqs",
        "chunked_prefill_size": "max_num_batched_tokens",
        "page_size": "block_size",
        "disable_cuda_graph": "eager",
        "speculative_algorithm": "speculative",
    },
    flag_lines=(
        ("kv_dtype", sought("Using KV cache dtype", r"Using KV cache dtype: (\S{1,40})")),
        ("max_num_batched_tokens", sought("max_total_num_tokens=", r", chunked_prefill_size=(\d{1,12})")),
        ("static_fraction", sought("KV cache under", r"under --mem-fraction-static=(\d\.\d{1,9})")),
    ),
    refusals=("leave no GPU memory for the KV cache", "Not enough memory. Please try"),
    # A draft model loads its own weights and makes its own pool after the target's, and both are held.
    keep={
        "weights_bytes": Keep.SUM,
        "kv_bytes": Keep.SUM,
        "kv_tokens": Keep.LARGEST,
        "graph_bytes": Keep.SUM,
        "free_memory_bytes": Keep.LARGEST,
        "free_after_weights_bytes": Keep.LAST,
        "free_after_pool_bytes": Keep.LAST,
        "free_after_graphs_bytes": Keep.LAST,
    },
)
