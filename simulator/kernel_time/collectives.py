"""Time of collectives inside a node, by algorithm: hops that follow one another, and bytes over one link.

``message_bytes`` of the points is the whole vector: what an all-reduce sums, what an all-gather leaves on each rank,
what a reduce-scatter starts from, what one rank of an all-to-all holds, what a send carries.

A library takes the fastest of its algorithms: few bytes go in one step (one-shot, or a low-latency protocol that sends
a flag with each word), many in a pipeline of chunks. A pipeline that starts in L and streams in B ends, with the best
chunk, after L + B + 2 sqrt(L B).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from kvwall.hardware.errors import InputError, suggestion
from kvwall.simulator.kernel_time.common import MICRO, Parameters, as_array, microseconds, ratio
from kvwall.simulator.kernel_time.family import Family, Parameter
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.traffic import Array

#: Hops of a ring of eight, which an algorithm inside the switch replaces.
_SWITCH_HOPS = 14.0

#: Chunk latency of NCCL pipelines under a custom kernel, whose own points do not tell it.
_PIPE_US = 2.4
_SWITCH_FRACTION = 0.65

#: A send has no hops beyond its launch and no ranks to leave links idle.
_ONE_PAIR = {"hop_us": 0.0, "pair_loss": 0.0}

#: Latency and one-shot rate of a custom kernel, hidden under the host in eager mode.
_HIDDEN = {"launch_us": 4.2, "hop_us": 0.25, "one_shot_fraction": 0.57}

_HOST_SHARPNESS = 6

#: vLLM hands messages of this size on to NCCL where the switch cannot add up.
_SHORT_BYTES = 8 * 2.0**20

LAUNCH = microseconds("launch_us", "start of the kernel and the first message", 0.5, 60, 5)
HOP = microseconds("hop_us", "one further message that must wait for the one before", 0.01, 30, 0.6)
FLAGGED = ratio("low_latency_fraction", "part of the link that the low-latency protocol reaches", 0.005, 1.0, 0.2)
START = microseconds("pipeline_us", "further start of the chunked pipeline", 0.01, 150, 8)
LINK = ratio("link_fraction", "part of the link that a long message over many ranks reaches", 0.01, 1.0, 0.8)
CHUNK = microseconds("chunk_us", "latency of one chunk of the pipeline", 0.001, 300, 2)
PAIR = ratio("pair_loss", "part of the link that few ranks leave idle: loss / ranks", 0.01, 1.5, 0.4)
SWITCH = ratio("switch_fraction", "part of the link that a reduction inside the switch reaches", 0.2, 1.0, 0.65)
BARRIER = microseconds("two_shot_us", "second step of the two-shot algorithm", 0.01, 60, 3)
ONE_SHOT = ratio("one_shot_fraction", "part of the link in which each rank reads all others", 0.05, 1.0, 0.57)
TWO_SHOT = ratio("two_shot_fraction", "part of the link that the two-shot algorithm reaches", 0.05, 1.0, 0.6)
RING_START = microseconds("ring_us", "start of the ring that long messages go to", 1, 150, 20)
HOST = microseconds("host_us", "host's work for one call without a graph", 1, 200, 25)
COPY = ratio("copy_fraction", "part of the memory bandwidth in copies to and from registered buffers", 0.1, 1.0, 0.6)


@dataclass(frozen=True)
class _Kind:
    """Messages that follow one another, and bytes over one link as a part of the vector; both by the ranks n."""

    rounds: float
    volume: float
    ring: bool = True

    def hops(self, ranks: Array) -> Array:
        """Messages one after the other."""
        return as_array(self.rounds * (ranks - 1) if self.ring else np.full_like(ranks, self.rounds))

    def share(self, ranks: Array) -> Array:
        """Vectors over one link."""
        return as_array(self.volume * (ranks - 1) / ranks)


_KINDS: Mapping[str, _Kind] = {
    "all_reduce": _Kind(2, 2),
    "all_gather": _Kind(1, 1),
    "reduce_scatter": _Kind(1, 1),
    "alltoall": _Kind(1, 1, ring=False),
    "send_recv": _Kind(1, 2, ring=False),  # between two ranks, whatever the group: all of the message
}


def _pipelined(stream_us: Array, chunk_us: float) -> Array:
    return as_array(stream_us + 2 * np.sqrt(chunk_us * stream_us))


def _switched(ranks: Array, message: Array, fraction: float) -> Array:
    """Stream time of a reduction inside the switch: (n + 1) / n of the vector over each link."""
    return as_array(message * (ranks + 1) / ranks / fraction)


def _message(points: Points, machine: Machine, kind: str) -> tuple[Array, Array]:
    """Ranks, and the microseconds that the whole vector takes over one link at its data sheet's rate."""
    ranks, vector = np.broadcast_arrays(as_array(points.ranks), as_array(points.message_bytes))
    members = np.full(ranks.shape, 2.0) if kind == "send_recv" else np.maximum(ranks, 1.0)
    return members, as_array(vector / machine.link_bytes_per_s / MICRO)


def nccl_s(points: Points, parameters: Parameters, machine: Machine, kind: str) -> Array:
    """Seconds of an NCCL collective: low-latency protocol, pipelined ring, or the switch where it can add up."""
    p = {**_ONE_PAIR, **parameters}
    ranks, vector_us = _message(points, machine, kind)
    hops = _KINDS[kind].hops(ranks)
    volume_us = vector_us * _KINDS[kind].share(ranks)
    start_us = p["launch_us"] + p["hop_us"] * hops
    flagged = start_us + volume_us / p["low_latency_fraction"]
    reached = p["link_fraction"] * np.maximum(1 - p["pair_loss"] / ranks, 0.05)
    fastest = np.minimum(flagged, start_us + p["pipeline_us"] + _pipelined(volume_us / reached, p["chunk_us"]))
    if "switch_fraction" in p:
        first_us = p["launch_us"] + p["hop_us"] * _SWITCH_HOPS + p["pipeline_us"]
        stream = _switched(ranks, vector_us, p["switch_fraction"])
        fastest = np.minimum(fastest, first_us + _pipelined(stream, p["chunk_us"]))
    return np.where(ranks > 1, fastest, 0.0) * MICRO


def custom_s(points: Points, parameters: Parameters, machine: Machine, switch: bool, longest: float) -> Array:
    """Seconds of an all-reduce by peer access: one-shot, two-shot, or NCCL for messages of ``longest`` bytes on.

    With ``host_us`` the call is made without a graph: a floor of host time, and copies through registered buffers.
    """
    p = {**_HIDDEN, **parameters}
    ranks, vector_us = _message(points, machine, "all_reduce")
    levels = np.log2(ranks)
    volume_us = vector_us * _KINDS["all_reduce"].share(ranks)
    one_shot = p["launch_us"] + p["hop_us"] * levels + (ranks - 1) * vector_us / p["one_shot_fraction"]
    barriers = p["launch_us"] + p["two_shot_us"] + 2 * p["hop_us"] * levels
    fastest = np.minimum(one_shot, barriers + volume_us / p["two_shot_fraction"])
    fastest = np.where(as_array(points.message_bytes) < longest, fastest, np.inf)
    reached = p["link_fraction"] * np.maximum(1 - p["pair_loss"] / ranks, 0.05)
    stream = volume_us / reached
    if switch:
        stream = np.minimum(stream, _switched(ranks, vector_us, _SWITCH_FRACTION))
    fastest = np.minimum(fastest, p["ring_us"] + _pipelined(stream, _PIPE_US))
    if "host_us" in p:
        copies = 2 * as_array(points.message_bytes) / (p["copy_fraction"] * machine.bandwidth_bytes_per_s) / MICRO
        fastest = np.maximum(fastest + copies, 1e-6)
        slower, quicker = np.maximum(fastest, p["host_us"]), np.minimum(fastest, p["host_us"])
        fastest = slower * (1 + (quicker / slower) ** _HOST_SHARPNESS) ** (1 / _HOST_SHARPNESS)
    return np.where(ranks > 1, fastest, 0.0) * MICRO


def bound_s(points: Points, machine: Machine, kind: str) -> Array:
    """The data sheet's bound: what one rank must send at least, also if the switch adds up."""
    ranks, vector_us = _message(points, machine, kind)
    sent = 1.0 if kind == "send_recv" else (ranks - 1) / ranks
    return np.where(ranks > 1, vector_us * sent, 0.0) * MICRO


_PROTOCOLS: tuple[Parameter, ...] = (LAUNCH, HOP, FLAGGED, START, LINK, CHUNK, PAIR)
_PAIRWISE: tuple[Parameter, ...] = (LAUNCH, FLAGGED, START, LINK, CHUNK)
_CUSTOM: tuple[Parameter, ...] = (LAUNCH, HOP, BARRIER, ONE_SHOT, TWO_SHOT, RING_START, LINK, PAIR)
_EAGER: tuple[Parameter, ...] = (HOST, COPY, BARRIER, TWO_SHOT, RING_START, LINK, PAIR)

_NCCL_RULES = "NCCL, src/graph/tuning.cc: latency by protocol and hops, bytes by bus bandwidth"
_CUSTOM_RULES = "one-shot and two-shot all-reduce over peer memory: vLLM, csrc/custom_all_reduce.cuh"


def _nccl(kind: str, name: str, parameters: tuple[Parameter, ...]) -> Family:
    return Family(
        f"{kind}/{name}", kind, parameters, partial(nccl_s, kind=kind), partial(bound_s, kind=kind), _NCCL_RULES
    )


def _custom(name: str, parameters: tuple[Parameter, ...], switch: bool = False, longest: float = np.inf) -> Family:
    seconds = partial(custom_s, switch=switch, longest=longest)
    bound = partial(bound_s, kind="all_reduce")
    return Family(f"all_reduce/{name}", "all_reduce", parameters, seconds, bound, _CUSTOM_RULES)


#: Every family of collectives; ``host`` where ranks meet over the host's bus.
FAMILIES: tuple[Family, ...] = (
    *(_nccl(kind, "nccl", _PROTOCOLS) for kind in _KINDS if kind != "send_recv"),
    _nccl("all_reduce", "nccl-host", _PROTOCOLS),
    _nccl("send_recv", "nccl", _PAIRWISE),
    _nccl("send_recv", "nccl-host", _PAIRWISE),
    _nccl("all_reduce", "nccl-switch", (*_PROTOCOLS, SWITCH)),
    _custom("custom", _CUSTOM),
    _custom("custom-short", _CUSTOM, longest=_SHORT_BYTES),
    _custom("custom-switch", _CUSTOM, switch=True),
    _custom("custom-eager", _EAGER),
    _custom("custom-eager-short", _EAGER, longest=_SHORT_BYTES),
    _custom("custom-eager-switch", _EAGER, switch=True),
)

#: Families of collectives by name.
COLLECTIVES: dict[str, Family] = {family.name: family for family in FAMILIES}


def collective_family(
    kind: str, framework: str, *, graph: bool = True, switch_adds: bool = False, over_host: bool = False
) -> Family:
    """The family of a collective.

    :param kind: all_reduce, all_gather, reduce_scatter, alltoall or send_recv
    :param framework: vllm, sglang and trtllm have an all-reduce of their own; all else is NCCL
    :param graph: replayed from a CUDA graph; else the host calls each time
    :param switch_adds: the switch can reduce (NVSwitch from Hopper on)
    :param over_host: ranks meet over the host's bus
    :raises InputError: no such collective
    """
    if kind not in _KINDS:
        near = suggestion(kind, _KINDS)
        raise InputError(f"collective {kind!r} is unknown{near} (allowed: {', '.join(sorted(_KINDS))})")
    if over_host and kind in ("all_reduce", "send_recv"):
        return COLLECTIVES[f"{kind}/nccl-host"]
    own = kind == "all_reduce" and framework.lower() in ("vllm", "sglang", "trtllm")
    short = "-short" if own and framework.lower() == "vllm" else ""
    ending = "-switch" if switch_adds and kind == "all_reduce" else short
    name = "nccl" if not own else "custom" if graph else "custom-eager"
    return COLLECTIVES[f"{kind}/{name}{ending}"]
