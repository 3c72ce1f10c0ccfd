"""Attention as a kernel that a calibrated model may know: only where a published kernel does just this work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kvwall.simulator.cache import CONTENT_ROLES, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.kernel_time.call import KernelCall
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.operators.split import Split

#: Cache formats of published kernels, by payload bits.
_KV_DTYPES = {16.0: "bf16", 8.0: "fp8"}


def attention_call(group: CacheGroup, cache: Cache, split: Split) -> KernelCall | None:
    """The attention of ``group`` as one kernel a layer; ``None`` where a scheme makes it another kernel."""
    kv_dtype = _kv_dtype(group)
    plain = group.reads_known and not group.shared_reads and not any(index == group.index for index, _ in cache.fused)
    plain = plain and bool(np.all(cache.execution.computed_share == 1.0))
    plain = plain and all(tensor.role != "layer input" for tensor in group.tensors)
    if kv_dtype is None or not plain or group.prefill_share < 1 or split.dcp > 1 or group.indexer[0]:
        return None
    latent = group.kind == "mla"
    kernel = ("mla_" if latent else "") + ("prefill" if cache.prefill else "decode") + ("" if latent else "_attention")
    key, value = group.prefill_dims if cache.prefill else (group.head_dim, group.value_dim)
    heads = split.queries(group)
    kv_heads = heads if latent and cache.prefill else max(1, -(-group.kv_heads // split.tp))
    points = Points(
        batch=cache.batch,
        q_len=cache.query_tokens,
        kv_len=cache.context if cache.prefill else group.attended + cache.query_tokens,
        q_heads=heads,
        kv_heads=kv_heads,
        head_dim=key,
        value_dim=value,
        window=float(group.window or 0) if cache.prefill else 0.0,
    )
    return KernelCall(kernel, "bf16", kv_dtype, points, group.layers)


def _kv_dtype(group: CacheGroup) -> str | None:
    """The one format of all cached content on the device; ``None`` where formats mix or no kernel reads them."""
    segments = [s for t in group.tensors if t.role in CONTENT_ROLES for s in t.segments]
    if any(s.place != "hbm" or s.label == "window" for s in segments):
        return None
    formats = {_KV_DTYPES.get(s.bits.payload) if s.bits.native or s.bits.payload == 16 else None for s in segments}
    return formats.pop() if len(formats) == 1 else None


def plain_group(group: CacheGroup) -> CacheGroup:
    """``group`` as a plain cache of the architecture: 16 bits, on the device, the attended tokens stored and read."""
    segment = Segment("tokens", stored=group.attended, read=group.attended)
    if group.kind == "mla":
        tensors = (
            Tensor("latent", 0, group.value_dim, (segment,)),
            Tensor("rope key", 0, group.head_dim - group.value_dim, (segment,)),
        )
    else:
        tensors = (
            Tensor("key", group.kv_heads, group.head_dim, (segment,)),
            Tensor("value", group.kv_heads, group.value_dim, (segment,)),
        )
    return replace(group, tensors=tensors, reads_known=True, shared_reads=False, prefill_share=1.0)
