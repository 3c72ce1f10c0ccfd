"""Attention of one step over the cache: what decode reads, multiplies and writes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kvwall.simulator.cache import Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.operators.attention_call import attention_call, plain_group
from kvwall.simulator.operators.fused import fused_terms
from kvwall.simulator.operators.offload import offload_operators
from kvwall.simulator.operators.prefill import prefill_attention
from kvwall.simulator.operators.split import Split, attended_by
from kvwall.simulator.traffic import Numeric, Operator, Symbols, Term, term

_READ = "every cached element a step attends to crosses HBM once: arXiv 2309.06180, section 2; arXiv 2307.08691"
_FLASH = "Dao 2023, FlashAttention-2, arXiv 2307.08691, section 3"
_MLA = "DeepSeek-AI 2024, arXiv 2405.04434, section 2.1 (absorbed form)"
_OFFLOAD = "Sheng et al. 2023, FlexGen, arXiv 2303.06865, section 4"
_QUEST = "Tang et al. 2024, Quest, arXiv 2406.10774, section 3: a maximum and a sum of products per channel"
_INDEX = "DeepSeek-AI 2025, DeepSeek-V3.2 report, section 2"


def attention_operators(group: CacheGroup, cache: Cache, split: Split) -> list[Operator]:
    """Attention of one group of alike layers in one step, with what schemes fuse into it."""
    if group.kind == "linear":
        return [_state(group, cache, split)]
    kernel = prefill_attention(group, cache, split) if cache.prefill else _decode(group, cache, split)
    return [kernel, *offload_operators(group, cache, split)]


def _decode(group: CacheGroup, cache: Cache, split: Split) -> Operator:
    terms: list[Term] = []
    for tensor in group.tensors:
        for segment in tensor.segments:
            if segment.attend_on == "device":
                terms += _read(tensor, segment, group, cache, split)
        terms += _write(tensor, group, cache, split)
    attended = attended_by(group, "device")
    terms += _decode_flops(group, cache, split, attended)
    terms += fused_terms(group, cache, split, attended)
    name = f"decode attention ({group.kind})"
    call = attention_call(group, cache, split)
    # A kernel that reads 8 bits may have no fit where that of 16 bits has one.
    basis = None if call is not None and call.kv_dtype == "bf16" else _plain(group, cache, split, terms)
    return Operator(
        "attention", name, "attention", tuple(terms), group.layers, ranks=split.ranks, call=call, basis=basis
    )


def _plain(group: CacheGroup, cache: Cache, split: Split, terms: list[Term]) -> Operator | None:
    """Decode attention over a plain 16-bit cache on the device, of as many bytes as ``terms`` read."""
    if group.indexer[0] or split.dcp > 1:
        return None
    plain = plain_group(group)
    token = sum(2.0 * group.layers * split.elements(tensor) * cache.batch for tensor in plain.tensors)
    read: Numeric = sum((t.amount for t in terms if t.tally == "kv read"), start=np.float64(0.0))
    tokens = np.maximum(1.0, read / token)
    return _decode(plain_group(replace(group, attended=tokens)), replace(cache, fused=()), split)


def _read(tensor: Tensor, segment: Segment, group: CacheGroup, cache: Cache, split: Split) -> list[Term]:
    """Reads of one segment, and the vector work to bring its codes into the product."""
    amount: Symbols = {"L": group.layers, "e": split.elements(tensor), "B": cache.batch, "n": segment.read}
    bits = segment.bits
    which = "" if segment.label == "tokens" else f" ({segment.label})"
    terms = [
        term(f"read {tensor.role}{which}", "hbm", "L * e * b / 8 * B * n", _READ, tally="kv read",
             compulsory=segment.place == "hbm", b=bits.effective, **amount)
    ]  # fmt: skip
    if segment.place != "hbm":
        terms.append(
            term(f"stage {tensor.role}{which}", "hbm", "L * e * b / 8 * B * n", _OFFLOAD, compulsory=False,
                 b=bits.effective, **amount)
        )  # fmt: skip
    if bits.dequantise_flops:
        terms.append(
            term(f"scale {tensor.role}{which}", "vector", "f * L * e * B * n", f"one multiply-add per {bits.name} code",
                 f=bits.dequantise_flops, **amount)
        )  # fmt: skip
    if bits.unpack_flops:
        terms.append(
            term(f"unpack {tensor.role}{which}", "vector", "u * L * e * B * n",
                 f"estimate: instructions per {bits.name} code", compulsory=False, spread=(0.4, 1.5),
                 unless_native=bits.native, u=bits.unpack_flops, **amount)
        )  # fmt: skip
    return terms


def _write(tensor: Tensor, group: CacheGroup, cache: Cache, split: Split) -> list[Term]:
    """The new tokens of a step go into the newest segment; a window passes as many on to the older one."""
    if not tensor.grows:
        return []
    return [
        term(f"write {tensor.role}", "hbm", "L * e * b / 8 * B * m", _READ, tally="kv written",
             L=group.layers, e=split.elements(tensor), b=_written_bits(tensor), B=cache.batch, m=cache.query_tokens)
    ]  # fmt: skip


def _written_bits(tensor: Tensor) -> Numeric:
    """Bits written per element of one new token."""
    own = [segment for segment in tensor.segments if segment.label not in {"shared prefix", "sinks"}]
    newest = own[-1]
    if tensor.role == "page bounds":
        return 2 * newest.bits.effective  # read, compare, write back
    bits: Numeric = np.float64(newest.bits.effective)
    for label in dict.fromkeys(segment.label for segment in own if segment.label != newest.label):
        older = [segment for segment in own if segment.label == label]
        stored = sum((segment.stored for segment in older), start=np.float64(0.0))
        bits = bits + np.where(stored > 0, older[0].bits.effective, 0.0)
    return bits


def _decode_flops(group: CacheGroup, cache: Cache, split: Split, attended: Numeric) -> list[Term]:
    # Ranks that share the tokens of a sequence gather each other's query heads, so a rank has dcp times the heads
    # over a dcp-th of the tokens: the product does not change.
    shape: Symbols = {
        "L": group.layers,
        "H": split.queries(group),
        "B": cache.batch,
        "m": cache.query_tokens,
        "n": attended,
    }
    reference = _MLA if group.kind == "mla" else _FLASH
    terms = [
        term("scores and weighted sum", "matrix", "2 * L * H * (k + v) * B * m * n", reference,
             k=group.head_dim, v=group.value_dim, **shape),
        term("softmax", "vector", "5 * L * H * B * m * n", _FLASH, compulsory=False, **shape),
    ]  # fmt: skip
    bounds = next((t for t in group.tensors if t.role == "page bounds"), None)
    if bounds is not None:
        terms.append(
            term("score pages", "vector", "4 * L * H * d * B * m * p", _QUEST,
                 L=group.layers, H=split.queries(group), d=group.head_dim, B=cache.batch, m=cache.query_tokens,
                 p=bounds.segments[0].read)
        )  # fmt: skip
    index = next((t for t in group.tensors if t.role == "index key"), None)
    if index is not None:
        # Every index key is scored by all indexer heads, so the work follows the tokens stored, not those attended.
        terms.append(
            term("score the index", "matrix", "2 * L * I * d * B * m * s / c", _INDEX,
                 dtype="fp8", L=group.layers, I=group.indexer[0], d=group.indexer[1], B=cache.batch,
                 m=cache.query_tokens, s=index.segments[0].stored, c=split.dcp)
        )  # fmt: skip
    return terms


def _state(group: CacheGroup, cache: Cache, split: Split) -> Operator:
    """A recurrent layer reads and writes its whole state once per step, whatever the context."""
    reference = "recurrent state is read and written whole: Gu and Dao 2023, arXiv 2312.00752, section 3.3"
    tensor = group.tensors[0]
    amount: Symbols = {"L": group.layers, "e": split.elements(tensor), "B": cache.batch}
    terms = (
        term("read state", "hbm", "L * e * B", reference, tally="kv read", **amount),
        term("write state", "hbm", "L * e * B", reference, tally="kv written", **amount),
        term(
            "update state",
            "vector",
            "3 * L * e / 2 * B * m",
            reference,
            compulsory=False,
            m=cache.query_tokens,
            **amount,
        ),
    )
    return Operator("attention", "recurrent state", "attention", terms, 3 * group.layers, ranks=split.ranks)
