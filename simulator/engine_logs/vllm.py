"""How vLLM (0.2 to 0.31) writes its start-up log, and the forks and plugins that print the same lines."""

from __future__ import annotations

from kvwall.simulator.engine_logs.pattern import EngineGrammar, Keep, Stage, pattern, sought

_LOAD = (
    pattern(Stage.WEIGHTS, "weights took", r"Loading model weights took <weights_bytes> ?<unit>"),
    pattern(Stage.WEIGHTS, "Model loading took", r"Model loading took <weights_bytes> ?<unit>"),
)

# Version 0.6 wrote key=value, 0.6.5 a table, 0.7 sentences; versions since 0.8 write the sizes in lines of their own.
_PROFILE = (
    pattern(Stage.POOL, "total_gpu_memory", r"total_gpu_memory[\s=(]+<total_memory_bytes>\s?<unit>"),
    pattern(Stage.POOL, "gpu_memory_utilization", r"gpu_memory_utilization(?: \(|\s+)<utilization>(?:\)|$)"),
    pattern(Stage.POOL, "kv_cache_size=", r"GiB,? gpu_memory_utilization=<utilization>"),
    pattern(Stage.POOL, "gpu_memory_utilization (", r"utilization \([\d.]+\) = <budget_bytes>\s?<unit>"),
    pattern(Stage.POOL, "instance can use", r"instance can use\s+<budget_bytes>\s?<unit>"),
    pattern(Stage.POOL, "model weights take", r"model weights take\s+<weights_bytes>\s?<unit>"),
    pattern(Stage.POOL, "non_torch_memory", r"non_torch_memory(?: takes)?[\s=]+<non_torch_bytes>\s?<unit>"),
    pattern(Stage.POOL, "activation peak memory", r"activation peak memory(?: takes)?\s+<activation_bytes>\s?<unit>"),
    pattern(Stage.POOL, "peak_torch_memory", r"peak_torch_memory[\s=]+<peak_torch_bytes>\s?<unit>"),
    pattern(Stage.POOL, "reserved for KV Cache", r"reserved for KV Cache is <kv_bytes>\s?<unit>"),
    pattern(Stage.POOL, "available_kv_cache_memory", r"available_kv_cache_memory\s+<kv_bytes>\s?<unit>"),
    pattern(Stage.POOL, "kv_cache_size=", r"kv_cache_size=<kv_bytes>\s?<unit>"),
    pattern(Stage.POOL, "Available KV cache memory", r"Available KV cache memory: <kv_bytes>\s?<unit>"),
    pattern(Stage.POOL, "CUDA graph memory", r"Estimated CUDA graph memory: <graph_estimate_bytes>\s?<unit>"),
    pattern(Stage.POOL, "is equivalent to", r"The current --gpu-memory-utilization=<utilization> is equivalent"),
)

_CAPACITY = (
    pattern(Stage.POOL, " blocks: ", r"# (?:GPU|CUDA|cuda) blocks: <gpu_blocks>(?:, # CPU blocks: <cpu_blocks>)?"),
    pattern(Stage.POOL, "KV cache size", r"GPU KV cache size: <kv_tokens> tokens"),
    pattern(
        Stage.POOL, "Maximum concurrency", r"Maximum concurrency for <max_model_len> tokens per request: <concurrency>x"
    ),
    pattern(Stage.WEIGHTS, "block size to", r"Setting (?:attention|kv cache) block size to <block_size>\b"),
)

_REFUSAL = (
    pattern(Stage.POOL, "max seq len", r"max seq len \(<max_model_len>\)"),
    pattern(Stage.POOL, "KV cache is needed", r"\(?<needed_bytes> <unit> KV cache is needed"),
    pattern(Stage.POOL, "available KV cache memory", r"available KV cache memory \(<available_bytes> <unit>\)"),
    pattern(Stage.POOL, "maximum model length", r"estimated maximum model length is <estimated_max_len>"),
    pattern(Stage.POOL, "stored in KV cache", r"tokens that can be stored in KV cache \(<kv_tokens>\)"),
)

_GRAPHS = (
    pattern(Stage.GRAPHS, "Graph capturing finished", r"Graph capturing finished in .{1,20}took <graph_bytes> <unit>"),
    pattern(Stage.GRAPHS, "CUDA graph pool memory", r"CUDA graph pool memory: <graph_bytes> <unit> \(actual\)"),
    pattern(Stage.GRAPHS, "Free memory on device", r"device \(<free_memory_bytes>/<total_memory_bytes> <unit>\)"),
    pattern(
        Stage.GRAPHS, "Desired GPU memory", r"Desired GPU memory utilization is \(<utilization>, <budget_bytes> <unit>"
    ),
    pattern(Stage.GRAPHS, "for weight", r"<weights_bytes> <unit> for weights?\b"),
    pattern(Stage.GRAPHS, "for consumed memory", r"<consumed_bytes> <unit> for consumed memory"),
    pattern(Stage.GRAPHS, "for peak activation", r"<activation_bytes> <unit> for peak activation"),
    pattern(Stage.GRAPHS, "for non-torch", r"<non_torch_bytes> <unit> for non-torch memory"),
    pattern(Stage.GRAPHS, "raph memory", r"<graph_bytes> <unit> for (?:CUDAGraph|NPU graph) memory"),
    pattern(Stage.GRAPHS, "cache memory in use", r"Current kv cache memory in use is <kv_bytes> <unit>"),
)

VLLM = EngineGrammar(
    name="vllm",
    title="vLLM",
    examples=("Available KV cache memory", "# GPU blocks"),
    patterns=(*_LOAD, *_PROFILE, *_CAPACITY, *_REFUSAL, *_GRAPHS),
    start=(
        sought("with config:", r"LLM engine(?: \(\S{1,60}\))? with config:"),
        sought("vLLM API server version", r"vLLM API server version"),
        sought("non-default args:", r"non-default args:"),
    ),
    models=(
        sought("Starting to load model", r"Starting to load model (\S{1,300}?)(?:\.\.\.|\s|$)"),
        sought("  model  ", r"[█▀▄] {2,4}model {2,4}(\S{1,300})"),
        sought("vllm serve ", r"\bvllm serve ([^\s-]\S{0,300})"),
    ),
    versions=(
        sought("LLM engine (", r"LLM engine \(v?(\d[^\s)]{0,60})\)"),
        sought("server version", r"vLLM API server version v?(\d\S{0,60})"),
        sought("  version ", r"[█▀▄] {2,4}version v?(\d\S{0,60})"),
    ),
    configuration=("with config:", "non-default args:", "args: Namespace("),
    command=("vllm serve ", "vllm.entrypoints."),
    flags={
        "model": "model",
        "tensor_parallel_size": "tp",
        "tp": "tp",
        "pipeline_parallel_size": "pp",
        "pp": "pp",
        "data_parallel_size": "dp",
        "kv_cache_dtype": "kv_dtype",
        "dtype": "dtype",
        "quantization": "quantization",
        "max_seq_len": "max_model_len",
        "max_model_len": "max_model_len",
        "gpu_memory_utilization": "memory_utilization",
        "max_num_seqs": "max_num_seqs",
        "max_num_batched_tokens": "max_num_batched_tokens",
        "block_size": "block_size",
        "enforce_eager": "eager",
        "num_speculative_tokens": "draft_tokens",
    },
    flag_lines=(
        ("max_num_batched_tokens", sought("Chunked prefill", r"enabled with max_num_batched_tokens=(\d{1,12})")),
        ("max_model_len", sought("Using max model len", r"Using max model len (\d{1,12})")),
    ),
    refusals=(
        "EngineCore failed to start",
        "No available memory for the cache blocks",
        "KV cache is needed",
        "that can be stored in KV cache (",
    ),
    keep={"kv_tokens": Keep.LAST, "max_model_len": Keep.LAST},
)
