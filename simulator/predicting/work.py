"""What a kernel cannot avoid: bytes, FLOP and messages of each point, and the datasheet bound that they make."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from kvwall.hardware.dtype import Dtype
from kvwall.simulator.kernel_time.machine import Machine
from kvwall.simulator.kernel_time.points import Points, Rows
from kvwall.simulator.predicting.names import DESCRIBED
from kvwall.simulator.traffic import Array, Numeric

#: Bytes of an activation that a product writes, and of a partial sum.
_OUTPUT_BYTES = 2.0

#: Parts of the payload that a rank sends: what any algorithm must, and what rings and two-shot kernels do.
_MUST_SEND = {"all_reduce": 1.0, "all_gather": 1.0, "reduce_scatter": 1.0, "alltoall": 1.0}
_DO_SEND = {**_MUST_SEND, "all_reduce": 2.0}


@dataclass(frozen=True)
class Work:
    """Compulsory work of each point.

    :ivar memory_bytes: read and written once, from device memory
    :ivar flops: on the matrix unit, on operands of ``operand``
    :ivar link_bytes: over the link of one rank, by any algorithm
    :ivar sent_bytes: over the link of one rank, by a ring
    :ivar written_bytes: those of ``memory_bytes`` that may still lie in the last-level cache when the kernel ends
    """

    memory_bytes: Array
    flops: Array
    link_bytes: Array
    sent_bytes: Array
    operand: Dtype
    written_bytes: Numeric = 0.0

    def take(self, rows: Rows) -> Work:
        """The work of the points at ``rows``, in a row."""
        if rows is ...:
            return self
        written = np.broadcast_to(np.asarray(self.written_bytes, dtype=float), np.shape(self.memory_bytes))
        columns = (self.memory_bytes, self.flops, self.link_bytes, self.sent_bytes, written)
        memory, flops, link, sent, written = (column.reshape(-1)[rows] for column in columns)
        return Work(memory, flops, link, sent, self.operand, written)

    def ideal_s(self, machine: Machine) -> Array:
        """``max(bytes / bandwidth, flops / peak, link bytes / link)``: the hard maximum, in seconds."""
        return reduce(np.maximum, [seconds for _, seconds in self.resources(machine)])

    def matrix_s(self, machine: Machine) -> Array:
        """Seconds on the matrix unit at its peak."""
        return np.asarray(self.flops / machine.matrix_flops_per_s[self.operand])

    def resources(self, machine: Machine) -> tuple[tuple[str, Array], ...]:
        """Seconds that each resource alone would take at its peak."""
        must_move = self.memory_bytes - np.minimum(self.written_bytes, machine.l2_bytes)
        return (
            ("hbm", must_move / machine.bandwidth_bytes_per_s),
            ("matrix", self.matrix_s(machine)),
            ("link", self.link_bytes / machine.link_bytes_per_s),
        )


def work_of(kernel: str, points: Points, element_bytes: float, kv_bytes: float, operand: Dtype, spelled: str) -> Work:
    """The work of ``points``.

    :param element_bytes: bytes of a query, an activation or a weight element
    :param kv_bytes: bytes of a cached element
    :param spelled: the kernel as the table spells it, which tells the two halves of a quantisation apart
    """
    memory: Numeric = 0.0
    flops: Numeric = 0.0
    link: Numeric = 0.0
    sent: Numeric = 0.0
    written: Numeric = 0.0
    p = points
    if kernel == "memory_copy":
        memory, written = 2.0 * np.asarray(p.message_bytes), p.message_bytes
    elif kernel == "host_gather":
        link = sent = np.asarray(p.moved_bytes)
    elif kernel in DESCRIBED:
        memory, flops = p.moved_bytes, p.flops
    elif kernel in ("decode_attention", "prefill_attention", "mla_decode", "mla_prefill"):
        memory, flops = _attention(kernel, p, element_bytes, kv_bytes)
    elif kernel == "gemm":
        memory = (np.asarray(p.m) * p.k + np.asarray(p.n) * p.k) * element_bytes + np.asarray(p.m) * p.n * _OUTPUT_BYTES
        flops = 2.0 * np.asarray(p.m) * p.n * p.k
    elif kernel == "quantize":
        # Finding a scale only reads; writing fp8 beside it adds a byte an element.
        memory = np.asarray(p.m) * p.k * (2.0 if "compute_scale" in spelled else 3.0)
    elif kernel in _MUST_SEND:
        share = (np.asarray(p.ranks) - 1) / p.ranks * p.message_bytes
        link, sent = share * _MUST_SEND[kernel], share * _DO_SEND[kernel]
    else:  # send_recv, host_copy
        link = sent = np.asarray(p.message_bytes)
    if kernel not in DESCRIBED:  # what the row states goes before what its shape tells
        memory = np.where(np.asarray(p.moved_bytes) > 0, p.moved_bytes, memory)
    memory, flops, link, sent = (
        np.broadcast_to(np.asarray(v, dtype=float), p.shape) for v in (memory, flops, link, sent)
    )
    return Work(memory, flops, link, sent, operand, written)


def _attention(kernel: str, p: Points, element_bytes: float, kv_bytes: float) -> tuple[Array, Array]:
    """Bytes and FLOP of attention: queries and answers once, keys and values once, causal pairs of tokens."""
    queries, tokens = np.asarray(p.q_len), np.asarray(p.kv_len)
    seen = np.where(np.asarray(p.window) > 0, np.minimum(tokens, np.asarray(p.window) + queries - 1), tokens)
    # Query i of q sees the last token and all before it but the q - 1 - i newest; a window bounds each.
    pairs = queries * tokens - queries * (queries - 1) / 2
    pairs = np.where(np.asarray(p.window) > 0, np.minimum(pairs, queries * p.window), pairs)
    channels = np.asarray(p.head_dim) + p.value_dim
    own = np.asarray(p.batch) * queries * p.q_heads * channels * element_bytes
    # A latent holds keys and values in the same channels.
    cached = np.asarray(p.head_dim) if kernel == "mla_decode" else channels
    cache = np.asarray(p.batch) * seen * p.kv_heads * cached * kv_bytes
    flops = 2.0 * np.asarray(p.batch) * p.q_heads * pairs * channels
    return own + cache, flops
