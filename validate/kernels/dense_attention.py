"""Attention as torch ships it: prefill, prefill over a cached prefix, decode.

``scaled_dot_product_attention`` picks the kernel. With a prefix the causal mask is aligned at the lower right: the
last query sees every token.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention

from kvwall.validate.kernels.case import Case
from kvwall.validate.kernels.trial import DTYPES, Source, Trial, size_bytes


def causal_attention(q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Attention of ``q`` (``[batch, q_heads, queries, d]``) to ``[batch, kv_heads, tokens, d]``, causal."""
    queries, tokens = q.shape[2], keys.shape[2]
    shared = q.shape[1] != keys.shape[1]
    if queries == 1:
        return scaled_dot_product_attention(q, keys, values, enable_gqa=shared)
    if queries == tokens:
        return scaled_dot_product_attention(q, keys, values, is_causal=True, enable_gqa=shared)
    mask = causal_lower_right(queries, tokens)
    return scaled_dot_product_attention(q, keys, values, attn_mask=mask, enable_gqa=shared)


def causal_reference(q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The same in float64."""
    group = q.shape[1] // keys.shape[1]
    wide_keys, wide_values = (one.double().repeat_interleave(group, dim=1) for one in (keys, values))
    scores = q.double() @ wide_keys.transpose(-1, -2) / sqrt(q.shape[-1])
    queries, tokens = scores.shape[-2:]
    last_seen = torch.arange(queries, device=q.device)[:, None] + tokens - queries
    hidden = torch.arange(tokens, device=q.device)[None, :] > last_seen
    return torch.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1) @ wide_values


def prepare(case: Case, source: Source) -> Trial:
    """Decode with ``q_len`` 1, prefill with ``q_len == kv_len``, a prefix in between."""
    batch, heads, kv_heads = case.size("batch"), case.size("n_q_heads"), case.size("n_kv_heads")
    queries, tokens, d = case.size("q_len"), case.size("kv_len"), case.size("head_dim")
    dtype = DTYPES[case.dtype]
    q = source.normal(batch, heads, queries, d, dtype=dtype)
    keys, values = (source.normal(batch, kv_heads, tokens, d, dtype=dtype) for _ in range(2))
    pairs = queries * tokens - queries * (queries - 1) / 2
    return Trial(
        run=lambda: causal_attention(q, keys, values),
        reference=lambda: causal_reference(q, keys, values),
        buffers=(q, keys, values),
        moved_bytes=2 * size_bytes(q) + size_bytes(keys, values),
        flops=4.0 * batch * heads * pairs * d,
    )
