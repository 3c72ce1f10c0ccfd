"""The prefill kernels that are known: FlashAttention-2 and -3 under vLLM, and TensorRT-LLM's fused kernels."""

from __future__ import annotations

from dataclasses import replace

from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.prefill import (
    GAIN,
    LAUNCH,
    LONGEST,
    MASKED,
    MATRIX,
    TAIL,
    TILE,
    WIDE_GAIN,
    WRITE,
    PrefillKernel,
    bound_of,
    last_wave_tail_s,
    late_tile_tail_s,
    mixed_tail_s,
    seconds_of,
)
from kvwall.simulator.kernel_time.prefill_plans import (
    flash2_tiles,
    flash3_fp8_tiles,
    flash3_tiles,
    trtllm_latent_tiles,
    trtllm_tiles,
)

_SHARED = (LAUNCH, MATRIX, MASKED, LONGEST, TAIL)
_UNDER_VLLM = (*_SHARED, GAIN, WIDE_GAIN, WRITE)
_UNDER_TRTLLM = (*_SHARED, TILE, GAIN, WIDE_GAIN)

_FLASH3 = PrefillKernel(
    flash3_tiles, 2.0, "bf16", last_wave_tail_s, sharpness=2.0, short_tile=0.5, wide_launch_exponent=0.1
)
_FLASH3_FP8 = PrefillKernel(
    flash3_fp8_tiles, 1.0, "bf16", last_wave_tail_s, sharpness=3.0, short_tile=0.35, launch_exponent=0.1,
    wide_launch_exponent=-0.2, throttle=0.0, write_bytes=3.0,
)  # fmt: skip
_FLASH2 = PrefillKernel(
    flash2_tiles, 2.0, "bf16", mixed_tail_s, sharpness=2.0, short_tile=1.0, tile_us=0.3,
    launch_exponent=0.12, wide_launch_exponent=0.12, cache_share=1.0, cache_edge=4.0,
)  # fmt: skip


# TensorRT-LLM ships one kernel per head_dim and dtype; the one for 128 starts fastest.
_FUSED = PrefillKernel(
    trtllm_tiles, 2.0, "bf16", late_tile_tail_s, sharpness=3.0, short_tile=0.2, launch_exponent=-0.45,
    wide_launch_exponent=0.1, writes_cache=False,
)  # fmt: skip
# It writes the cache from codes that the same kernel made.
_FUSED_FP8_CACHE = replace(_FUSED, cache_bytes=1.0, write_bytes=2.0, launch_exponent=-0.2, wide_launch_exponent=-0.2)
_FUSED_FP8 = replace(_FUSED, cache_bytes=1.0, write_bytes=2.0, dtype="fp8", wide_launch_exponent=-0.1)
_LATENT = PrefillKernel(
    trtllm_latent_tiles, 2.0, "bf16", mixed_tail_s, sharpness=2.0, short_tile=0.2, writes_cache=False,
    latent_channels=576.0,
)  # fmt: skip
# With an fp8 cache the expanded queries, keys and values are converted once more before the products.
_LATENT_FP8 = PrefillKernel(
    trtllm_tiles, 1.0, "bf16", late_tile_tail_s, sharpness=3.0, short_tile=0.2, writes_cache=False, write_bytes=3.0
)

_FLASH3_SOURCE = "arXiv 2407.08608; hopper/tile_size.h of Dao-AILab/flash-attention"
_FLASH4_SOURCE = "flash_attn/cute of Dao-AILab/flash-attention, with the tiles of FlashAttention-3"
_FLASH2_SOURCE = "arXiv 2307.08691; csrc/flash_attn of Dao-AILab/flash-attention"
_TRTLLM_SOURCE = "cpp/tensorrt_llm/kernels/contextFusedMultiHeadAttention of NVIDIA/TensorRT-LLM"

_KERNELS = (
    ("prefill/fa3-bf16", "prefill_attention", _FLASH3, _UNDER_VLLM, _FLASH3_SOURCE),
    ("prefill/fa3-fp8", "prefill_attention", _FLASH3_FP8, _UNDER_VLLM, _FLASH3_SOURCE),
    ("prefill/fa4-bf16", "prefill_attention", _FLASH3, _UNDER_VLLM, _FLASH4_SOURCE),
    ("prefill/fa2-bf16", "prefill_attention", _FLASH2, _UNDER_VLLM, _FLASH2_SOURCE),
    ("prefill/trtllm-bf16", "prefill_attention", _FUSED, _UNDER_TRTLLM, _TRTLLM_SOURCE),
    ("prefill/trtllm-bf16-fp8-cache", "prefill_attention", _FUSED_FP8_CACHE, _UNDER_TRTLLM, _TRTLLM_SOURCE),
    ("prefill/trtllm-fp8", "prefill_attention", _FUSED_FP8, _UNDER_TRTLLM, _TRTLLM_SOURCE),
    ("mla-prefill/bf16", "mla_prefill", _LATENT, _UNDER_TRTLLM, _TRTLLM_SOURCE),
    ("mla-prefill/fp8", "mla_prefill", _LATENT_FP8, _UNDER_TRTLLM, _TRTLLM_SOURCE),
)

FAMILIES = tuple(
    Family(name, kernel, parameters, seconds_of(known), bound_of(known), reference)
    for name, kernel, known, parameters, reference in _KERNELS
)
