"""Attention over tokens that lie in host memory or on drives: what crosses the host link, what the host computes."""

from __future__ import annotations

from kvwall.simulator.cache import Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.operators.split import Split
from kvwall.simulator.traffic import Operator, Resource, Stream, Symbols, Term, term

_OFFLOAD = "Sheng et al. 2023, FlexGen, arXiv 2303.06865, section 4"


def offload_operators(group: CacheGroup, cache: Cache, split: Split) -> list[Operator]:
    """What attention over segments in host memory or on drives costs besides the kernel."""
    if cache.prefill:
        return _store_away(group, cache, split)
    operators: list[Operator] = []
    for tensor in group.tensors:
        for segment in tensor.segments:
            if segment.place == "hbm":
                continue
            make = _on_host if segment.attend_on == "host" else _streamed
            operators.append(make(tensor, segment, group, cache, split))
    if any(s.attend_on == "host" for t in group.tensors for s in t.segments):
        operators.append(_queries_out(group, cache, split))
    return operators


def _moved(
    name: str, resource: Resource, tensor: Tensor, segment: Segment, group: CacheGroup, cache: Cache, split: Split
) -> Term:
    return term(
        name, resource, "L * e * b / 8 * B * n", _OFFLOAD,
        L=group.layers, e=split.elements(tensor), b=segment.bits.effective, B=cache.batch, n=segment.read,
    )  # fmt: skip


def _streamed(tensor: Tensor, segment: Segment, group: CacheGroup, cache: Cache, split: Split) -> Operator:
    terms = [_moved(f"load {tensor.role}", "host link in", tensor, segment, group, cache, split)]
    if segment.place == "ssd":
        terms.append(_moved(f"read {tensor.role} from SSD", "ssd", tensor, segment, group, cache, split))
    stream: Stream = "copy in" if group.reads_known else "compute"
    return Operator("offload", f"stream {tensor.role}", "copy", tuple(terms), group.layers, stream, split.ranks)


def _on_host(tensor: Tensor, segment: Segment, group: CacheGroup, cache: Cache, split: Split) -> Operator:
    flops = term(
        "attend on the host", "host compute", "2 * L * e * g * B * n", _OFFLOAD,
        L=group.layers, e=split.elements(tensor), g=group.q_heads / max(group.kv_heads, 1), B=cache.batch,
        n=segment.read,
    )  # fmt: skip
    terms = [_moved(f"read {tensor.role} from DRAM", "host dram", tensor, segment, group, cache, split), flops]
    if segment.place == "ssd":
        terms.append(_moved(f"read {tensor.role} from SSD", "ssd", tensor, segment, group, cache, split))
    return Operator(
        "offload", f"host attention over {tensor.role}", "copy", tuple(terms), group.layers, ranks=split.ranks
    )


def _queries_out(group: CacheGroup, cache: Cache, split: Split) -> Operator:
    heads = split.queries(group)
    shape: Symbols = {"L": group.layers, "B": cache.batch, "m": cache.query_tokens}
    kv = sum(split.elements(t) for t in group.tensors if t.role in {"key", "value", "latent", "rope key"})
    terms = (
        term("send queries, new keys and values", "host link out", "2 * L * (H * d + e) * B * m", _OFFLOAD,
             H=heads, d=group.head_dim, e=kv, **shape),
        term("fetch outputs", "host link in", "2 * L * H * d * B * m", _OFFLOAD, H=heads, d=group.value_dim, **shape),
    )  # fmt: skip
    return Operator("offload", "exchange with the host", "copy", terms, 2 * group.layers, ranks=split.ranks)


def _store_away(group: CacheGroup, cache: Cache, split: Split) -> list[Operator]:
    operators = []
    for tensor in group.tensors:
        for segment in tensor.segments:
            if segment.place == "hbm":
                continue
            stored = term(
                f"store {tensor.role}", "host link out", "L * e * b / 8 * B * min(n, q)", _OFFLOAD,
                L=group.layers, e=split.elements(tensor), b=segment.bits.effective, B=cache.batch,
                n=segment.stored, q=cache.query_tokens,
            )  # fmt: skip
            name = f"store {tensor.role} away"
            operators.append(Operator("offload", name, "copy", (stored,), group.layers, "copy out", split.ranks))
    return operators
