"""How TensorRT-LLM writes its start-up log, from the C++ runtime of 0.5 to the PyTorch backend."""

from __future__ import annotations

from kvwall.simulator.engine_logs.pattern import EngineGrammar, Keep, Stage, pattern, sought

_ENGINE = (
    pattern(Stage.WEIGHTS, "Loaded engine size", r"Loaded engine size: <weights_bytes> <unit>"),
    pattern(
        Stage.WEIGHTS,
        "loading model weights",
        r"Memory used after loading model weights.{1,60}: <weights_bytes> <unit>",
    ),
    pattern(Stage.WEIGHTS, "execution context memory", r"Allocated <activation_bytes> <unit> for execution context"),
    pattern(Stage.WEIGHTS, "in IExecutionContext", r"now: CPU \d{1,9}, GPU <consumed_bytes> \(<unit>\)"),
    pattern(Stage.WEIGHTS, "maxSequenceLen", r"maxSequenceLen: <max_model_len>"),
    pattern(Stage.WEIGHTS, "maxNumSequences", r"maxNumSequences: <max_num_seqs>"),
)

_POOL = (
    pattern(
        Stage.POOL,
        "tokens in paged kv cache: total",
        r"paged kv cache: total: <total_memory_bytes> GiB, available: <free_memory_bytes> <unit>",
    ),
    pattern(Stage.POOL, "primary pool", r"Number of blocks in KV cache primary pool: <gpu_blocks>"),
    pattern(Stage.POOL, "primary blocks=", r"primary blocks=<gpu_blocks>"),
    pattern(Stage.POOL, "tokens per block", r"[Tt]okens per block[=:] ?<block_size>"),
    pattern(Stage.POOL, "max sequence length=", r"max sequence length=<max_model_len>"),
    pattern(Stage.POOL, "in paged KV cache", r"Allocated <kv_bytes> <unit> for max tokens in paged KV cache"),
    pattern(Stage.POOL, "in paged KV cache", r"in paged KV cache \(<kv_tokens>\)"),
    pattern(Stage.POOL, "in paged KV cache", r"Using <kv_tokens> tokens in paged KV cache"),
    pattern(Stage.POOL, "for k/v cache", r"Allocate <kv_bytes> <unit> for k/v cache"),
    pattern(Stage.GRAPHS, "max_num_requests=", r"max_seq_len=<max_model_len>, max_num_requests=<max_num_seqs>\b"),
)

TENSORRT_LLM = EngineGrammar(
    name="trtllm",
    title="TensorRT-LLM",
    examples=("for max tokens in paged KV cache", "Number of blocks in KV cache primary pool"),
    patterns=(*_ENGINE, *_POOL),
    start=(
        sought("TensorRT-LLM version", r"TensorRT-LLM version"),
        sought("Engine version", r"Engine version \S{1,60} found"),
    ),
    models=(),
    versions=(
        sought("TensorRT-LLM version", r"TensorRT-LLM version: v?(\d\S{0,60})"),
        sought("Engine version", r"Engine version v?(\d\S{0,60})"),
    ),
    configuration=("engine args:", "LlmArgs("),
    command=("trtllm-serve ", "trtllm-build "),
    flags={
        "model": "model",
        "tensor_parallel_size": "tp",
        "tp_size": "tp",
        "pipeline_parallel_size": "pp",
        "pp_size": "pp",
        "max_seq_len": "max_model_len",
        "max_batch_size": "max_num_seqs",
        "max_num_tokens": "max_num_batched_tokens",
        "tokens_per_block": "block_size",
        "kv_cache_free_gpu_memory_fraction": "kv_fraction",
        "kv_cache_free_gpu_mem_fraction": "kv_fraction",
        "free_gpu_memory_fraction": "kv_fraction",
    },
    flag_lines=(
        ("max_num_batched_tokens", sought("maxNumTokens", r"maxNumTokens: (\d{1,12})")),
        ("max_num_batched_tokens", sought("max_num_requests=", r", max_num_tokens=(\d{1,12})")),
    ),
    refusals=("maxTokensInPagedKvCache must be large enough",),
    # The PyTorch backend first makes a small pool to measure with, and then the real one.
    keep=dict.fromkeys(("kv_bytes", "kv_tokens", "gpu_blocks", "max_model_len"), Keep.LAST),
)
