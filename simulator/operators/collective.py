"""Collectives by an alpha-beta model: bytes one rank must send, and messages that must follow one another.

The compulsory part is what any algorithm sends, also one that reduces inside a switch; the second pass of a ring or
two-shot algorithm is charged on top, but not to the ideal time. A switch that adds up leaves ``2 / n`` of that pass:
``(n + 1) / n`` of the rows cross each link in all. Over ``m`` nodes of ``g`` ranks every rank exchanges its ``g``-th of
the rows with its like in the other nodes, in the steps of a tree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from kvwall.simulator.kernel_time.call import KernelCall
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.traffic import Numeric, Operator, Resource, Symbols, Term, term

Link = Literal["scale up", "peer", "scale out"]

_HOPS: dict[Link, Resource] = {"scale up": "hops", "peer": "peer hops", "scale out": "network hops"}

#: 16-bit elements of the largest logit and the sum of exponentials of a row, both in fp32.
SOFTMAX_ELEMENTS = 4

#: Start of an all-reduce of NCCL: fit of four A100 PCIe cards over the host (microsoft/vidur tables).
_START_S = 6e-6

_ALPHA_BETA = "alpha-beta model: Thakur et al. 2005, doi 10.1177/1094342005051521"


@dataclass(frozen=True, slots=True)
class Ring:
    """Ranks that take part in a collective.

    :ivar size: ranks
    :ivar link: the slowest link between two of them
    :ivar star: one rank collects all rows of a sum and sends it back to each
    :ivar switch_sums: the switch between them adds up
    :ivar per_node: ranks of one node, where the ring spans nodes; each has a way to the network of its own
    :ivar inner: the link between those
    """

    size: int
    link: Link
    star: bool = False
    switch_sums: bool = False
    per_node: int = 1
    inner: Link = "scale up"

    @property
    def nodes(self) -> float:
        """Nodes that the ring spans."""
        return self.size / self.per_node

    @property
    def hop(self) -> Resource:
        """A message over that link."""
        return _HOPS[self.link]


def all_reduce(name: str, layers: float, tokens: Numeric, width: float, ring: Ring, ranks: Numeric) -> Operator:
    """Sum a row of ``width`` 16-bit numbers for each of ``tokens`` tokens over the ring, in ``layers`` layers."""
    if ring.per_node > 1 and not ring.star:
        return _over_nodes(name, layers, tokens, width, ring, ranks)
    shape: Symbols = {"L": layers, "T": tokens, "D": width, "n": ring.size}
    # The rank in the middle of a star takes the rows of all others, and sends each of them the sum.
    sent = "2 * L * D * (n - 1) * T" if ring.star else "2 * L * D * (n - 1) / n * T"
    back = "4 * L * D / n * T" if ring.switch_sums else sent
    terms = (
        term("send the rows", ring.link, sent, _ALPHA_BETA, **shape),
        term("send the sums", ring.link, back, _ALPHA_BETA, compulsory=False, **shape),
        _hops(ring, layers, _inside_hops(ring)),
        *_start(ring, layers),
    )
    call = None
    if ring.link == "scale up" and not ring.star:
        points = Points(ranks=float(ring.size), message_bytes=2.0 * width * tokens)
        call = KernelCall("all_reduce", "bf16", "bf16", points, layers)
    return Operator("network", name, "collective", terms, layers, ranks=ranks, call=call)


def _over_nodes(name: str, layers: float, tokens: Numeric, width: float, ring: Ring, ranks: Numeric) -> Operator:
    """Reduce inside the nodes, each rank its part of the rows; exchange these parts over the nodes; gather inside."""
    shape: Symbols = {"L": layers, "T": tokens, "D": width, "g": ring.per_node}
    inside, across = "2 * L * D * (g - 1) / g * T", "2 * L * D * (m - 1) / m / g * T"
    within = Ring(ring.per_node, ring.inner)
    terms = (
        term("send the rows inside nodes", ring.inner, inside, _ALPHA_BETA, **shape),
        term("send the sums inside nodes", ring.inner, inside, _ALPHA_BETA, compulsory=False, **shape),
        term("send the rows between nodes", ring.link, across, _ALPHA_BETA, m=ring.nodes, **shape),
        term("send the sums between nodes", ring.link, across, _ALPHA_BETA, compulsory=False, m=ring.nodes, **shape),
        replace(_hops(within, layers, _inside_hops(within)), name="wait for messages inside nodes"),
        _hops(ring, layers, 2.0 * math.ceil(math.log2(ring.nodes))),
        *_start(ring, layers),
    )
    return Operator("network", name, "collective", terms, layers, ranks=ranks)


def _start(ring: Ring, layers: float) -> tuple[Term, ...]:
    """Start of the library's kernel, where no kernel of an engine's own can reach all ranks."""
    if ring.link == "scale up":
        return ()
    start = term("start the library's kernel", "latency", "L * s", _ALPHA_BETA, compulsory=False, L=layers, s=_START_S)
    return (start,)


def _inside_hops(ring: Ring) -> float:
    """Peers that meet in a switch exchange with all at once; over the host's bus a ring passes on what came before."""
    return 2.0 * (ring.size - 1) if ring.link == "peer" else 2.0


def all_to_all(
    name: str, layers: float, tokens: Numeric, width: float, element_bytes: float, ring: Ring, ranks: Numeric
) -> Operator:
    """Send each of ``tokens`` rows to another rank of the ring, in ``layers`` layers."""
    terms = (
        term("send rows", ring.link, "L * D * e * (n - 1) / n * T", _ALPHA_BETA,
             L=layers, T=tokens, D=width, e=element_bytes, n=ring.size),
        _hops(ring, layers, 1.0),
    )  # fmt: skip
    return Operator("network", name, "collective", terms, layers, ranks=ranks)


def send_receive(name: str, times: float, tokens: Numeric, width: float, ring: Ring, ranks: Numeric) -> Operator:
    """Pass ``tokens`` rows of ``width`` 16-bit numbers to the next pipeline stage, ``times`` times."""
    terms = (
        term("send rows", ring.link, "2 * x * D * T", _ALPHA_BETA, x=times, D=width, T=tokens),
        _hops(ring, times, 1.0),
    )
    return Operator("network", name, "collective", terms, times, ranks=ranks)


def _hops(ring: Ring, layers: float, each: float) -> Term:
    return term(
        "wait for messages", ring.hop, "L * h", _ALPHA_BETA, compulsory=False, spread=(0.4, 2.0), L=layers, h=each
    )
