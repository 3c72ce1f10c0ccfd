"""Attention over tokens that lie off the device: what crosses the host link, what hosts and drives compute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kvwall.simulator.cache import CONTENT_ROLES, Attendant, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.operators.fused import fused_terms, shard
from kvwall.simulator.operators.prefill import earlier_tokens
from kvwall.simulator.operators.split import Split, attended_by
from kvwall.simulator.segments import part_of
from kvwall.simulator.traffic import Numeric, Operator, Resource, Stream, Symbols, Term, term

_OFFLOAD = "Sheng et al. 2023, FlexGen, arXiv 2303.06865, section 4"
_IN_STORAGE = "Pan et al. 2024, InstInfer, arXiv 2409.04992, section 4"

#: Who attends instead of the device, with what it computes and reads by.
_ELSEWHERE: tuple[tuple[Attendant, Resource, Resource, str], ...] = (
    ("host", "host compute", "host dram", _OFFLOAD),
    ("storage", "drive compute", "flash", _IN_STORAGE),
)


def offload_operators(group: CacheGroup, cache: Cache, split: Split) -> list[Operator]:
    """What attention over segments in host memory or on drives costs besides the kernel."""
    if cache.prefill:
        return [o for tensor in group.tensors for o in _prefilled(tensor, group, cache, split)]
    operators: list[Operator] = []
    for tensor in group.tensors:
        away = [s for s in tensor.segments if s.place != "hbm" and s.attend_on == "device"]
        operators += [_streamed(tensor, segment, group, cache, split) for segment in away]
        if away and tensor.grows:
            operators.append(_written_back(tensor, group, cache, split))
    for who, computes, reads, reference in _ELSEWHERE:
        if any(s.attend_on == who for t in group.tensors for s in t.segments):
            operators.append(_attended(group, cache, split, who, computes, reads, reference))
            operators.append(_exchange(group, cache, split, who))
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
    beside = [o for index, o in cache.beside_copies if index == group.index]
    terms += [shard(t, 1.0 / split.tp / split.dcp) for o in beside for t in o.terms]
    stream: Stream = "copy in" if group.reads_known else "compute"
    return Operator("offload", f"stream {tensor.role}", "copy", tuple(terms), group.layers, stream, split.ranks)


def _part_away(tensor: Tensor) -> Numeric:
    """Part of the tokens of ``tensor`` that do not lie on the device."""
    stored = sum((s.stored for s in tensor.segments), start=np.float64(0.0))
    away = sum((s.stored for s in tensor.segments if s.place != "hbm"), start=np.float64(0.0))
    return part_of(away, stored)


def _written_back(tensor: Tensor, group: CacheGroup, cache: Cache, split: Split) -> Operator:
    """Every new token pushes as much of an older one out of the device as lies away."""
    stored = term(
        f"store {tensor.role}", "host link out", "L * e * b / 8 * B * m * f", _OFFLOAD,
        L=group.layers, e=split.elements(tensor), b=tensor.segments[0].bits.effective, B=cache.batch,
        m=cache.query_tokens, f=_part_away(tensor),
    )  # fmt: skip
    return Operator("offload", f"write {tensor.role} back", "copy", (stored,), group.layers, "copy out", split.ranks)


def _attended(
    group: CacheGroup, cache: Cache, split: Split, who: Attendant, computes: Resource, reads: Resource, reference: str
) -> Operator:
    """Processors of the host or of the drives attend: they read their tokens and do what the kernel would do."""
    attended = attended_by(group, who)
    terms = [
        term(f"attend on the {who}", computes, "2 * L * H * (k + v) * B * m * n", reference,
             L=group.layers, H=split.queries(group), k=group.head_dim, v=group.value_dim, B=cache.batch,
             m=cache.query_tokens, n=attended)
    ]  # fmt: skip
    terms += [replace(t, resource=computes) for t in fused_terms(group, cache, split, attended)]
    where = {"host dram": "DRAM", "flash": "flash"}[reads]
    for tensor in group.tensors:
        for segment in (s for s in tensor.segments if s.attend_on == who):
            terms.append(_moved(f"read {tensor.role} from {where}", reads, tensor, segment, group, cache, split))
            if segment.place == "ssd" and who == "host":
                terms.append(_moved(f"read {tensor.role} from SSD", "ssd", tensor, segment, group, cache, split))
    return Operator("offload", f"attention on the {who}", "copy", tuple(terms), group.layers, ranks=split.ranks)


def _exchange(group: CacheGroup, cache: Cache, split: Split, who: Attendant) -> Operator:
    heads = split.queries(group)
    shape: Symbols = {"L": group.layers, "B": cache.batch, "m": cache.query_tokens}
    kv = sum(split.elements(t) for t in group.tensors if t.role in CONTENT_ROLES)
    down, up = "2 * L * (H * d + e) * B * m", "2 * L * H * d * B * m"
    terms = [
        term("send queries, new keys and values", "host link out", down, _OFFLOAD,
             H=heads, d=group.head_dim, e=kv, **shape),
        term("fetch outputs", "host link in", up, _OFFLOAD, H=heads, d=group.value_dim, **shape),
    ]  # fmt: skip
    if who == "storage":
        terms += [
            term("send queries, new keys and values to drives", "drive link", down, _IN_STORAGE,
                 H=heads, d=group.head_dim, e=kv, **shape),
            term("fetch outputs from drives", "drive link", up, _IN_STORAGE, H=heads, d=group.value_dim, **shape),
        ]  # fmt: skip
    return Operator("offload", f"exchange with the {who}", "copy", tuple(terms), 2 * group.layers, ranks=split.ranks)


def _prefilled(tensor: Tensor, group: CacheGroup, cache: Cache, split: Split) -> list[Operator]:
    """A prefill sends its part of the new tokens away, and loads what it needs of earlier ones."""
    if all(segment.place == "hbm" for segment in tensor.segments) or tensor.role == "channel key":
        return []  # drives make their channel-indexed copy of the keys themselves
    part = _part_away(tensor)
    width: Symbols = {
        "L": group.layers, "e": split.elements(tensor), "b": tensor.segments[0].bits.effective, "B": cache.batch,
    }  # fmt: skip
    kept = sum((s.stored for s in tensor.segments), start=np.float64(0.0))
    new = np.minimum(kept, cache.query_tokens)
    stored = term(
        f"store {tensor.role}", "host link out", "L * e * b / 8 * B * f * p", _OFFLOAD, f=part, p=new, **width
    )
    loaded = term(
        f"load earlier {tensor.role}", "host link in", "L * e * b / 8 * B * f * p", _OFFLOAD,
        f=part, p=np.minimum(earlier_tokens(group, cache), kept), **width,
    )  # fmt: skip
    storing = [stored]
    if any(segment.attend_on == "storage" for segment in tensor.segments):
        storing.append(replace(stored, name=f"store {tensor.role} on drives", resource="drive link"))
    return [
        Operator("offload", f"store {tensor.role} away", "copy", tuple(storing), group.layers, "copy out", split.ranks),
        Operator("offload", f"load {tensor.role}", "copy", (loaded,), group.layers, "copy in", split.ranks),
    ]
