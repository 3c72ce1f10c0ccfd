"""Which kernel family serves an attention: a rule over device, framework, dtypes and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kvwall.hardware.device import Device
from kvwall.hardware.errors import unknown_name
from kvwall.simulator.kernel_time import decode_flash, decode_trtllm, generic, mla, prefill_kernels
from kvwall.simulator.kernel_time.decode_plans import uses_xqa
from kvwall.simulator.kernel_time.family import Family
from kvwall.simulator.kernel_time.points import Points

KERNELS = ("decode_attention", "prefill_attention", "mla_decode", "mla_prefill")

#: Every attention family by name.
ATTENTION_FAMILIES: Mapping[str, Family] = {
    family.name: family
    for module in (decode_flash, decode_trtllm, mla, prefill_kernels, generic)
    for family in module.FAMILIES
}

_Names = NDArray[np.str_]

#: Frameworks that run FlashAttention-3 and FlashMLA on Hopper.
_FLASH_FRAMEWORKS = ("vllm", "sglang")

#: The widest head of FlashAttention-2 and -3.
_WIDEST_FLASH_HEAD = 256


def family_for(kernel: Any, device: Device, framework: Any, dtype: Any, kv_dtype: Any, points: Points) -> _Names:
    """The family of each row, or one for all, as a name in :data:`ATTENTION_FAMILIES`.

    vLLM takes FlashAttention-3 on Hopper (version 4 for heads above 256 channels) and version 2 on Ampere and Ada;
    TensorRT-LLM takes XQA or MMHA (:func:`uses_xqa`); what is not known falls to the generic family of the kernel.

    :param kernel: one of :data:`KERNELS` per row, or one for all (likewise the next three)
    :param framework: ``"vllm"``, ``"sglang"``, ``"trtllm"`` or any other
    :param dtype: of queries and products: ``"bf16"``, ``"fp16"``, ``"fp8"``
    :param kv_dtype: of the cache
    :param points: shapes; head_dim, heads, batch and kv_len are used
    :raises UnknownNameError: a kernel that is no attention
    """
    unknown = sorted(set(np.unique(kernel)) - set(KERNELS))
    if unknown:
        raise unknown_name("attention kernel", str(unknown[0]), set(KERNELS))
    hopper = device.compute_capability == 9.0
    # Only TensorRT-LLM's rule looks at heads, batch and length: a grid of those has one family, told once.
    by_size = hopper and bool(np.any(np.asarray(framework) == "trtllm"))
    sizes = (points.q_heads, points.kv_heads, points.batch, points.kv_len) if by_size else ()
    kernel, framework, dtype, kv_dtype, head_dim, *_ = np.broadcast_arrays(
        kernel, framework, dtype, kv_dtype, points.head_dim, *sizes
    )
    fp8_cache = np.isin(kv_dtype, ("fp8", "int8"))
    flash = np.isin(framework, _FLASH_FRAMEWORKS) if hopper else np.zeros(kernel.shape, dtype=bool)
    vllm_before_hopper = (framework == "vllm") & (8.0 <= (device.compute_capability or 0.0) < 9.0)
    flash2 = vllm_before_hopper & ~fp8_cache & (head_dim <= _WIDEST_FLASH_HEAD)
    trtllm = (framework == "trtllm") & hopper
    decode, prefill = kernel == "decode_attention", kernel == "prefill_attention"
    wide = head_dim > _WIDEST_FLASH_HEAD
    rules: list[tuple[Any, Any]] = [
        (decode & flash & ~wide, np.where(fp8_cache, "decode/fa3-fp8", "decode/fa3-bf16")),
        (decode & flash & wide & ~fp8_cache, "decode/fa4-bf16"),
        (decode & flash2, "decode/fa2-bf16"),
        (decode & trtllm, _trtllm_decode(points, fp8_cache, device.units.count) if by_size else ""),
        (prefill & flash & ~wide, np.where(fp8_cache, "prefill/fa3-fp8", "prefill/fa3-bf16")),
        (prefill & flash & wide & ~fp8_cache, "prefill/fa4-bf16"),
        (prefill & flash2, "prefill/fa2-bf16"),
        (prefill & trtllm & (dtype == "fp8"), "prefill/trtllm-fp8"),
        (prefill & trtllm, np.where(fp8_cache, "prefill/trtllm-bf16-fp8-cache", "prefill/trtllm-bf16")),
        ((kernel == "mla_decode") & (flash | trtllm), np.where(fp8_cache, "mla-decode/fp8", "mla-decode/bf16")),
        ((kernel == "mla_prefill") & (flash | trtllm), np.where(fp8_cache, "mla-prefill/fp8", "mla-prefill/bf16")),
    ]
    names = np.select([rule for rule, _ in rules], [name for _, name in rules], generic_for(kernel, dtype, kv_dtype))
    return np.asarray(names, dtype=np.str_)


def generic_for(kernel: Any, dtype: Any, kv_dtype: Any) -> _Names:
    """The family of each row that knows no plan: two efficiencies and a launch."""
    fp8_cache = np.isin(kv_dtype, ("fp8", "int8"))
    base = np.select(
        [np.asarray(kernel) == name for name in KERNELS],
        ["decode/generic", "prefill/generic", "mla-decode/generic", "mla-prefill/generic"],
        "",
    )
    plain_prefill = np.asarray(kernel) == "prefill_attention"
    suffix = np.where(fp8_cache, np.where(plain_prefill & (np.asarray(dtype) != "fp8"), "-fp8-cache", "-fp8"), "")
    return np.asarray(np.char.add(base, suffix), dtype=np.str_)


def _trtllm_decode(points: Points, fp8_cache: Any, units: int) -> Any:
    head_dim = np.asarray(points.head_dim)
    xqa_bf16 = np.where(head_dim <= 128, "decode/xqa-bf16-narrow", "decode/xqa-bf16-wide")
    xqa_fp8 = np.select([head_dim <= 64, head_dim <= 128], ["decode/xqa-fp8-d64", "decode/xqa-fp8-d128"], "")
    xqa = np.where(fp8_cache, np.where(xqa_fp8 == "", "decode/xqa-fp8-wide", xqa_fp8), xqa_bf16)
    mmha = np.where(fp8_cache, "decode/mmha-fp8", "decode/mmha-bf16")
    return np.where(uses_xqa(points, fp8_cache, units), xqa, mmha)
