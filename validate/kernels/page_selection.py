"""Sparse decode by pages: score every page from the bounds of its keys, keep the best, attend to those alone.

After Quest (arXiv 2406.10774): per page and channel the smallest and largest key are kept; the score of a page is an
upper bound of the query's product with any key in it. All query heads of a group read the pages that their sum of
scores prefers; the newest page is always read.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import torch
import triton
import triton.language as tl

from kvwall.validate.kernels.case import Case
from kvwall.validate.kernels.paged_decode import PagedCache, attend_pages, block_tokens, random_cache
from kvwall.validate.kernels.split_softmax import Splits, plan_splits
from kvwall.validate.kernels.trial import DTYPES, Source, Trial, attend, size_bytes

_PAGES = 64


@triton.jit
def _score_pages(
    q: tl.tensor,
    smallest: tl.tensor,
    largest: tl.tensor,
    scores: tl.tensor,
    pages: tl.tensor,
    group: tl.constexpr,
    head_dim: tl.constexpr,
    columns: tl.constexpr,
    block: tl.constexpr,
) -> None:
    item = tl.program_id(0).to(tl.int64)
    page = tl.program_id(1) * block + tl.arange(0, block)
    column = tl.arange(0, columns)
    wide = column < head_dim
    mask = (page < pages)[:, None] & wide[None, :]
    place = (item * pages + page)[:, None] * head_dim + column[None, :]
    low = tl.load(smallest + place, mask, 0.0).to(tl.float32)
    high = tl.load(largest + place, mask, 0.0).to(tl.float32)
    score = tl.zeros([block], tl.float32)
    for row in tl.static_range(group):
        query = tl.load(q + (item * group + row) * head_dim + column, wide, 0.0).to(tl.float32)[None, :]
        score += tl.sum(tl.maximum(query * low, query * high), 1)
    tl.store(scores + item * pages + page, score, page < pages)


class PageSelection:
    """The buffers of one call.

    :ivar bounds: smallest and largest key of each page, ``[batch, kv_heads, pages, d]`` each
    :ivar kept: pages that are read, the newest among them
    """

    def __init__(self, case: Case, source: Source) -> None:
        page = case.option("page", 16)
        self.cache = random_cache(case, source)
        self.q = source.normal(
            case.size("batch"), case.size("n_q_heads"), case.size("head_dim"), dtype=DTYPES[case.dtype]
        )
        batch, self.pages = self.cache.table.shape
        self.kept = max(1, min(self.pages, case.option("budget") // page))
        last = case.size("kv_len") - (self.pages - 1) * page
        self.tokens = (self.kept - 1) * page + last
        self.bounds = self._bounds(case.size("kv_len"))
        heads = case.size("n_kv_heads")
        self.scores = torch.empty(batch, heads, self.pages, dtype=torch.float32, device=source.device)
        self.newest = torch.full((batch, heads, 1), self.pages - 1, dtype=torch.int64, device=source.device)
        self.lengths = torch.full((batch,), self.tokens, dtype=torch.int32, device=source.device)
        block = block_tokens(case.size("head_dim"))
        out = torch.empty_like(self.q)
        self.splits: Splits = plan_splits(out, batch * heads, self.tokens, block, source.units, case.option("splits"))

    def _bounds(self, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        keys = self.cache.gathered(self.cache.keys, tokens)
        page = self.cache.keys.shape[1]
        missing = self.pages * page - tokens
        padding = keys[:, :, -1:].expand(-1, -1, missing, -1)
        paged = torch.cat([keys, padding], dim=2).unflatten(2, (self.pages, page))
        dtype = self.cache.keys.dtype
        return paged.amin(3).to(dtype).contiguous(), paged.amax(3).to(dtype).contiguous()

    def run(self) -> torch.Tensor:
        """Score, choose, attend."""
        batch, heads, _, head_dim = self.bounds[0].shape
        group = self.q.shape[1] // heads
        _score_pages[(batch * heads, triton.cdiv(self.pages, _PAGES))](
            self.q,
            *self.bounds,
            self.scores,
            self.pages,
            group=group,
            head_dim=head_dim,
            columns=triton.next_power_of_2(head_dim),
            block=_PAGES,
            num_warps=4,
        )
        chosen = torch.topk(self.scores[..., :-1], self.kept - 1, dim=-1, sorted=False).indices
        return attend_pages(self.q, self.chosen_cache(torch.cat([chosen, self.newest], dim=-1)), self.splits)

    def chosen_cache(self, chosen: torch.Tensor) -> PagedCache:
        """The cache in which each head sees the pages ``chosen`` alone, the newest last."""
        table = self.cache.table.unsqueeze(1).expand(-1, chosen.shape[1], -1).gather(2, chosen)
        return replace(self.cache, table=table, lengths=self.lengths)

    def reference(self) -> torch.Tensor:
        """The same choice and attention in float64."""
        batch, heads, _, head_dim = self.bounds[0].shape
        q = self.q.double().reshape(batch, heads, -1, 1, head_dim)
        low, high = (bound.double().unsqueeze(2) for bound in self.bounds)
        scores = torch.maximum(q * low, q * high).sum((2, 4))
        chosen = torch.topk(scores[..., :-1], self.kept - 1, dim=-1).indices
        cache = self.chosen_cache(torch.cat([chosen, self.newest], dim=-1))
        keys, values = (cache.gathered(stored, self.tokens) for stored in (cache.keys, cache.values))
        return attend(self.q, keys, values, 1 / sqrt(head_dim))


def prepare(case: Case, source: Source) -> Trial:
    """Options: ``page`` (16), ``budget`` tokens to read, ``splits``."""
    call = PageSelection(case, source)
    batch, heads, head_dim = call.q.shape
    kv_heads, element = case.size("n_kv_heads"), call.cache.keys.element_size()
    attended = 2 * batch * kv_heads * call.tokens * head_dim * element
    stored = (call.cache.keys, call.cache.values, *call.bounds)
    return Trial(
        run=call.run,
        reference=call.reference,
        output=call.splits.out,
        buffers=(call.q, *stored, call.cache.table, call.scores, *call.splits.buffers),
        moved_bytes=attended + size_bytes(call.q, *call.bounds) + call.splits.moved_bytes,
        flops=batch * heads * (4.0 * call.tokens + 3.0 * call.pages) * head_dim,
    )
