"""Eviction after a prompt: score all tokens by the attention of the last queries, keep the best, compact the cache.

After SnapKV (arXiv 2404.14469), one score per key head: the attention of a window of ``window_queries`` last queries
is summed over them and averaged over the query heads of a group, smoothed along the tokens, and the best tokens are
gathered in order, followed by the window itself.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch.nn.functional import avg_pool1d

from kvwall.validate.kernels.case import Case
from kvwall.validate.kernels.trial import DTYPES, Source, Trial, size_bytes


def window_scores(q: torch.Tensor, keys: torch.Tensor, kernel: int) -> torch.Tensor:
    """``[batch, kv_heads, tokens - queries]``: the smoothed score of each token before the window.

    :param q: the window's queries, ``[batch, q_heads, queries, d]``
    :param kernel: tokens over which scores are averaged, odd
    """
    batch, heads, queries, d = q.shape
    kv_heads, tokens = keys.shape[1], keys.shape[2]
    grouped = q.reshape(batch, kv_heads, heads // kv_heads * queries, d)
    logits = (grouped @ keys.transpose(-1, -2)).unflatten(2, (-1, queries)) / sqrt(d)
    later = torch.ones(queries, queries, dtype=torch.bool, device=q.device).triu(1)
    logits[..., tokens - queries :].masked_fill_(later, float("-inf"))
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    weights = torch.softmax(logits, dim=-1, dtype=wide)[..., : tokens - queries].sum(3).mean(2)
    return avg_pool1d(weights, kernel, stride=1, padding=kernel // 2, count_include_pad=True)


def compact(stored: torch.Tensor, best: torch.Tensor, window: int) -> torch.Tensor:
    """The rows ``best`` (``[batch, kv_heads, kept]``) of ``stored`` and its last ``window``."""
    kept = stored.gather(2, best.unsqueeze(-1).expand(-1, -1, -1, stored.shape[-1]))
    return torch.cat([kept, stored[:, :, -window:]], dim=2)


def prepare(case: Case, source: Source) -> Trial:
    """Options: ``budget`` tokens that stay, ``window_queries`` (32) among them, ``smooth`` (5)."""
    batch, heads, kv_heads = case.size("batch"), case.size("n_q_heads"), case.size("n_kv_heads")
    tokens, d, dtype = case.size("kv_len"), case.size("head_dim"), DTYPES[case.dtype]
    queries = min(tokens - 1, case.option("window_queries", 32))
    kept = max(1, min(case.option("budget"), tokens) - queries)
    smooth = case.option("smooth", 5)
    q = source.normal(batch, heads, queries, d, dtype=dtype)
    keys, values = (source.normal(batch, kv_heads, tokens, d, dtype=dtype) for _ in range(2))

    def run() -> torch.Tensor:
        best = torch.topk(window_scores(q, keys, smooth), kept, dim=-1).indices.sort(-1).values
        return torch.stack([compact(keys, best, queries), compact(values, best, queries)])

    def reference() -> torch.Tensor:
        scores = window_scores(q.double(), keys.double(), smooth)
        best = torch.topk(scores, kept, dim=-1).indices.sort(-1).values
        return torch.stack([compact(keys.double(), best, queries), compact(values.double(), best, queries)])

    gathered = 2 * batch * kv_heads * (kept + queries) * d * dtype.itemsize
    return Trial(
        run=run,
        reference=reference,
        buffers=(q, keys, values),
        moved_bytes=size_bytes(q, keys) + 2 * gathered,
        flops=2.0 * batch * heads * queries * tokens * d,
    )
