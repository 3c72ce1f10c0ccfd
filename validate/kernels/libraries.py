"""Attention of other libraries, where they are installed: FlashAttention, FlashInfer, vLLM, xFormers.

Each adapter is a few lines around the library's own call. A point carries the library's name as its framework and its
version as its source, so that a calibration never mixes them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from kvwall.validate.kernels.case import Case
from kvwall.validate.kernels.dense_attention import causal_reference
from kvwall.validate.kernels.trial import DTYPES, Source, Trial, size_bytes

_PAGE = 16
#: FlashInfer keeps partial results in a buffer of the caller; this is the size its documentation recommends.
_WORKSPACE_BYTES = 128 * 2**20


@dataclass(frozen=True)
class _Inputs:
    """``q``: ``[batch, queries, q_heads, d]``; ``keys``, ``values``: ``[batch, tokens, kv_heads, d]``, whole pages."""

    q: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    tokens: int

    @property
    def device(self) -> torch.device:
        return self.q.device

    def pages(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values as ``[pages, page, kv_heads, d]``."""
        return (self.keys.unflatten(1, (-1, _PAGE)).flatten(0, 1), self.values.unflatten(1, (-1, _PAGE)).flatten(0, 1))

    def table(self) -> torch.Tensor:
        """Pages of each sequence."""
        batch, slots = self.keys.shape[:2]
        return torch.arange(batch * slots // _PAGE, dtype=torch.int32, device=self.device).reshape(batch, -1)

    def starts(self, length: int) -> torch.Tensor:
        """Where each sequence of ``length`` starts, and the end."""
        batch = self.q.shape[0]
        return torch.arange(0, (batch + 1) * length, length, dtype=torch.int32, device=self.device)

    def lengths(self) -> torch.Tensor:
        """Tokens of each sequence."""
        return torch.full((self.q.shape[0],), self.tokens, dtype=torch.int32, device=self.device)


Run = Callable[[], torch.Tensor]


def _flash_attn(given: _Inputs) -> Run:
    library = importlib.import_module("flash_attn")
    if given.q.shape[1] > 1:
        keys, values = given.keys[:, : given.tokens], given.values[:, : given.tokens]
        return lambda: library.flash_attn_func(given.q, keys, values, causal=True)
    lengths = given.lengths()
    return lambda: library.flash_attn_with_kvcache(
        given.q, given.keys, given.values, cache_seqlens=lengths, causal=True
    )


def _vllm(given: _Inputs) -> Run:
    function = importlib.import_module("vllm.vllm_flash_attn").flash_attn_varlen_func
    queries = given.q.shape[1]
    keys, values = given.pages()
    arguments: dict[str, Any] = {
        "cu_seqlens_q": given.starts(queries),
        "max_seqlen_q": queries,
        "seqused_k": given.lengths(),
        "max_seqlen_k": given.tokens,
        "block_table": given.table(),
        "causal": True,
    }
    flat = given.q.flatten(0, 1)
    return lambda: function(flat, keys, values, **arguments).unflatten(0, (-1, queries))


def _flashinfer(given: _Inputs) -> Run:
    library = importlib.import_module("flashinfer")
    batch, queries, heads, d = given.q.shape
    keys, values = given.pages()
    workspace = torch.empty(_WORKSPACE_BYTES, dtype=torch.uint8, device=given.device)
    per_sequence = given.table().shape[1]
    last = torch.full((batch,), (given.tokens - 1) % _PAGE + 1, dtype=torch.int32, device=given.device)
    pages = (given.starts(per_sequence), given.table().flatten(), last)
    shape = (heads, keys.shape[2], d, _PAGE)
    flat = given.q.flatten(0, 1)
    if queries == 1:
        wrapper = library.BatchDecodeWithPagedKVCacheWrapper(
            workspace, "NHD", use_tensor_cores=heads // keys.shape[2] >= 4
        )
        wrapper.plan(*pages, *shape, q_data_type=given.q.dtype, kv_data_type=keys.dtype)
    else:
        wrapper = library.BatchPrefillWithPagedKVCacheWrapper(workspace, "NHD")
        wrapper.plan(given.starts(queries), *pages, *shape, causal=True, q_data_type=given.q.dtype)
    return lambda: wrapper.run(flat, (keys, values)).unflatten(0, (-1, queries))


def _xformers(given: _Inputs) -> Run:
    library = importlib.import_module("xformers.ops")
    kv_heads, tokens = given.keys.shape[2], given.tokens
    q = given.q.unflatten(2, (kv_heads, -1))
    group = q.shape[3]
    keys, values = (one[:, :tokens].unsqueeze(3).expand(-1, -1, -1, group, -1) for one in (given.keys, given.values))
    mask = library.fmha.attn_bias.LowerTriangularFromBottomRightMask() if q.shape[1] > 1 else None
    return lambda: library.memory_efficient_attention(q, keys, values, attn_bias=mask).flatten(2, 3)


_ADAPTERS: dict[str, Callable[[_Inputs], Run]] = {
    "flash_attn": _flash_attn,
    "flashinfer": _flashinfer,
    "vllm": _vllm,
    "xformers": _xformers,
}


def prepare(case: Case, source: Source) -> Trial:
    """The framework of ``case`` names the library; decode with ``q_len`` 1, else causal prefill."""
    batch, queries, tokens = case.size("batch"), case.size("q_len"), case.size("kv_len")
    heads, kv_heads, d, dtype = case.size("n_q_heads"), case.size("n_kv_heads"), case.size("head_dim"), case.dtype
    slots = -(-tokens // _PAGE) * _PAGE
    q = source.normal(batch, queries, heads, d, dtype=DTYPES[dtype])
    keys, values = (source.normal(batch, slots, kv_heads, d, dtype=DTYPES[dtype]) for _ in range(2))

    def reference() -> torch.Tensor:
        turned = (one.transpose(1, 2) for one in (q, keys[:, :tokens], values[:, :tokens]))
        return causal_reference(*turned).transpose(1, 2)

    pairs = queries * tokens - queries * (queries - 1) / 2
    return Trial(
        run=_ADAPTERS[case.framework](_Inputs(q, keys, values, tokens)),
        reference=reference,
        buffers=(q, keys, values),
        moved_bytes=2 * size_bytes(q) + size_bytes(keys, values),
        flops=4.0 * batch * heads * pairs * d,
    )
