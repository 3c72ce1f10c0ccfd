"""Adapters of other libraries, against stand-ins that take the arguments those libraries document."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kvwall.validate.correctness import relative_error  # noqa: E402
from kvwall.validate.kernels.dense_attention import causal_attention  # noqa: E402
from kvwall.validate.kernels.libraries import prepare  # noqa: E402
from kvwall.validate.kernels.trial import Source  # noqa: E402
from kvwall.validate.shapes import Shape, attention_case  # noqa: E402


def _attention(q: Any, k: Any, v: Any) -> Any:
    return causal_attention(*(one.transpose(1, 2) for one in (q, k, v))).transpose(1, 2)


def _flash_attn() -> SimpleNamespace:
    def with_cache(q: Any, k_cache: Any, v_cache: Any, *, cache_seqlens: Any, causal: bool) -> Any:
        tokens = int(cache_seqlens[0])
        return _attention(q, k_cache[:, :tokens], v_cache[:, :tokens])

    def func(q: Any, k: Any, v: Any, *, causal: bool) -> Any:
        return _attention(q, k, v)

    return SimpleNamespace(flash_attn_with_kvcache=with_cache, flash_attn_func=func)


def _from_pages(q: Any, k: Any, v: Any, table: Any, tokens: int) -> Any:
    dense = (pages[table.long()].flatten(1, 2)[:, :tokens] for pages in (k, v))
    return _attention(q.unflatten(0, (table.shape[0], -1)), *dense).flatten(0, 1)


def _vllm() -> SimpleNamespace:
    def varlen(q: Any, k: Any, v: Any, *, cu_seqlens_q: Any, max_seqlen_q: int, seqused_k: Any, max_seqlen_k: int,
               block_table: Any, causal: bool) -> Any:  # fmt: skip
        assert cu_seqlens_q.tolist() == list(range(0, len(q) + 1, max_seqlen_q))
        assert set(seqused_k.tolist()) == {max_seqlen_k}
        return _from_pages(q, k, v, block_table, max_seqlen_k)

    return SimpleNamespace(flash_attn_varlen_func=varlen)


class _Wrapper:
    def __init__(self, workspace: Any, layout: str, use_tensor_cores: bool = False) -> None:
        assert layout == "NHD"

    def run(self, q: Any, cache: Any) -> Any:
        page = cache[0].shape[1]
        pages = int(self.pages[0][1])
        table = self.pages[1].reshape(-1, pages)
        return _from_pages(q, *cache, table, (pages - 1) * page + int(self.pages[2][0]))


class _Decode(_Wrapper):
    def plan(self, indptr: Any, indices: Any, last: Any, *shape: int, q_data_type: Any, kv_data_type: Any) -> None:
        assert len(shape) == 4
        self.pages = (indptr, indices, last)


class _Prefill(_Wrapper):
    def plan(self, starts: Any, indptr: Any, indices: Any, last: Any, *shape: int, causal: bool, **_: Any) -> None:
        assert len(shape) == 4
        self.pages = (indptr, indices, last)


def _xformers() -> SimpleNamespace:
    def attention(q: Any, k: Any, v: Any, attn_bias: Any) -> Any:
        assert (attn_bias is None) == (q.shape[1] == 1)
        return _attention(*(one.flatten(2, 3) for one in (q, k, v))).unflatten(2, q.shape[2:4])

    mask = SimpleNamespace(LowerTriangularFromBottomRightMask=object)
    return SimpleNamespace(memory_efficient_attention=attention, fmha=SimpleNamespace(attn_bias=mask))


_LIBRARIES = {
    "flash_attn": ("flash_attn", _flash_attn),
    "vllm": ("vllm.vllm_flash_attn", _vllm),
    "flashinfer": (
        "flashinfer",
        lambda: SimpleNamespace(
            BatchDecodeWithPagedKVCacheWrapper=_Decode, BatchPrefillWithPagedKVCacheWrapper=_Prefill
        ),
    ),
    "xformers": ("xformers.ops", _xformers),
}


@pytest.mark.parametrize("queries", [1, 23, 37], ids=["decode", "prefix", "prefill"])
@pytest.mark.parametrize("framework", _LIBRARIES)
def test_an_adapter_calls_its_library_as_documented(
    framework: str, queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, stand_in = _LIBRARIES[framework]
    monkeypatch.setitem(sys.modules, module.partition(".")[0], SimpleNamespace())
    monkeypatch.setitem(sys.modules, module, stand_in())
    case = attention_case("libraries", Shape(8, 2, 64), 2, queries, 37, dtype="fp16", framework=framework)
    trial = prepare(case, Source("cpu", 3))
    assert relative_error(trial.run(), trial.reference()) < 1e-3
