"""The command line of the serving engine that realises a candidate, or words where it has no such flag."""

from __future__ import annotations

from kvwall.simulator.inquiry import native_weights
from kvwall.simulator.planning.combinations import Combination
from kvwall.simulator.setup import Setup
from kvwall.workloads.weight_format import WEIGHTS

#: What an engine calls the cache formats that it offers.
_CACHE_FLAGS: dict[str, dict[str, str]] = {
    "vllm": {
        "fp8": "--kv-cache-dtype fp8",
        "nvfp4": "--kv-cache-dtype nvfp4",
        "int4": "--kv-cache-dtype int4_per_token_head",
        "int8": "--kv-cache-dtype int8_per_token_head",
        "fp8_per_head": "--kv-cache-dtype fp8_per_token_head",
        "prefix": "--enable-prefix-caching",
    },
    "sglang": {"fp8": "--kv-cache-dtype fp8_e4m3", "prefix": ""},
    "trtllm": {"fp8": "--kv_cache_dtype fp8", "nvfp4": "--kv_cache_dtype nvfp4", "prefix": ""},
    "llamacpp": {"int8": "-ctk q8_0 -ctv q8_0 -fa on", "int4": "-ctk q4_0 -ctv q4_0 -fa on"},
}

#: Formats that have kernels for a latent cache.
_ON_LATENTS = {"fp8", "prefix"}

#: What an engine calls the weight formats that it makes of a 16-bit checkpoint while loading.
_WEIGHT_FLAGS: dict[str, dict[str, str]] = {
    "vllm": {"fp8": "--quantization fp8"},
    "sglang": {"fp8": "--quantization fp8"},
}

_NAMES = {"vllm": "vLLM", "sglang": "SGLang", "trtllm": "TensorRT-LLM", "llamacpp": "llama.cpp", "hf": "transformers"}


def unoffered(combination: Combination) -> tuple[str, ...]:
    """Schemes of the stack for which the engine has no flag."""
    setup = combination.setup
    offered: set[str] = set(_CACHE_FLAGS.get(setup.engine.engine, {}))
    if any(group.kind == "mla" for group in setup.model.attention):
        offered &= _ON_LATENTS
    return tuple(scheme.name for scheme in setup.stack.schemes if scheme.name not in offered)


def engine_flags(combination: Combination, batch: int) -> str:
    """The command that starts the engine as planned; what it cannot do follows after ``#`` in words.

    :param batch: sequences decoded at once in the whole deployment
    """
    setup = combination.setup
    engine = setup.engine.engine
    makers = {"vllm": _vllm, "sglang": _sglang, "trtllm": _trtllm, "llamacpp": _llamacpp}
    if engine not in makers:
        return f"# {_NAMES.get(engine, 'no engine')}: no server command is known"
    per_replica = -(-batch // setup.deployment.dp)
    made = [*makers[engine](setup, per_replica), *_cache(combination), *_weights(setup)]
    return " ".join(part for part in made if part) + "".join(f"  # {note}" for note in _notes(combination))


def _vllm(setup: Setup, per_replica: int) -> list[str]:
    d = setup.deployment
    flags = ["vllm serve", setup.model.hf_id, f"--tensor-parallel-size {d.attention_tp}"]
    if d.pp > 1:
        flags.append(f"--pipeline-parallel-size {d.pp}")
    if d.dp * d.attn_dp > 1:
        flags.append(f"--data-parallel-size {d.dp * d.attn_dp}")
    if d.ep > 1:
        flags.append("--enable-expert-parallel")
    if d.dcp > 1:
        flags.append(f"--decode-context-parallel-size {d.dcp}")
    flags += [f"--max-num-seqs {-(-per_replica // d.attn_dp)}", f"--max-model-len {setup.longest_tokens}"]
    if setup.max_batched_tokens is not None:
        flags.append(f"--max-num-batched-tokens {setup.max_batched_tokens}")
    return [*flags, f"--gpu-memory-utilization {_fraction(setup):g}", "--enforce-eager" if setup.eager else ""]


def _sglang(setup: Setup, per_replica: int) -> list[str]:
    d = setup.deployment
    flags = ["python -m sglang.launch_server --model-path", setup.model.hf_id, f"--tp {d.tp}"]
    if d.pp > 1:
        flags.append(f"--pp-size {d.pp}")
    if d.dp > 1 and d.attn_dp == 1:
        flags.append(f"--dp {d.dp}")
    if d.attn_dp > 1:
        flags.append(f"--dp {d.attn_dp} --enable-dp-attention")
    if d.ep > 1:
        flags.append(f"--ep-size {d.ep}")
    flags += [f"--max-running-requests {per_replica}", f"--context-length {setup.longest_tokens}"]
    return [*flags, f"--mem-fraction-static {_fraction(setup):g}"]


def _trtllm(setup: Setup, per_replica: int) -> list[str]:
    d = setup.deployment
    flags = ["trtllm-serve", setup.model.hf_id, f"--tp_size {d.tp}", f"--pp_size {d.pp}", f"--ep_size {d.ep}"]
    flags += [f"--max_batch_size {per_replica}", f"--max_seq_len {setup.longest_tokens}"]
    return [*flags, f"--kv_cache_free_gpu_memory_fraction {_fraction(setup):g}"]


def _llamacpp(setup: Setup, per_replica: int) -> list[str]:
    total = per_replica * setup.longest_tokens
    return [
        "llama-server",
        f"-m {setup.model.name}-{setup.weights_name}.gguf",
        "-ngl 999",
        f"-np {per_replica} -c {total}",
    ]


def _fraction(setup: Setup) -> float:
    if setup.utilization is not None:
        return setup.utilization
    d = setup.deployment
    return round(setup.engine.default_utilization(setup.memory_bytes, d.tp, d.pp), 3)


def _cache(combination: Combination) -> list[str]:
    known, missing = _CACHE_FLAGS[combination.setup.engine.engine], unoffered(combination)
    return [known[scheme.name] for scheme in combination.setup.stack.schemes if scheme.name not in missing]


def _weights(setup: Setup) -> list[str]:
    return [_WEIGHT_FLAGS.get(setup.engine.engine, {}).get(setup.weights_name, "")] if _narrowed(setup) else []


def _narrowed(setup: Setup) -> bool:
    """Whether the weights are narrower than published."""
    return setup.weights.bits_per_weight < WEIGHTS.load(native_weights(setup.model)).bits_per_weight


def _notes(combination: Combination) -> list[str]:
    setup = combination.setup
    engine, d = setup.engine.engine, setup.deployment
    name = _NAMES[engine]
    notes = [f"{scheme}: no flag in {name}, needs its authors' code" for scheme in unoffered(combination)]
    made_on_load = setup.weights_name in _WEIGHT_FLAGS.get(engine, {})
    if _narrowed(setup) and not made_on_load and engine != "llamacpp":
        notes.append(f"needs a checkpoint in {setup.weights_name}")
    copies = d.dp > 1 and (engine in {"trtllm", "llamacpp"} or (engine == "sglang" and d.attn_dp > 1))
    if copies:
        notes.append(f"start {d.dp} of them behind a router")
    if engine == "llamacpp" and d.tp > 1:
        notes.append("-sm row splits every matrix over the cards")
    return notes
