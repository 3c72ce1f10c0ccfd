"""Traffic: what one step asks of a machine, as named terms that carry their equation and their reference.

A :class:`Term` is an amount on one resource. An :class:`Operator` is the terms that one kernel (or one copy) pays at
once. A :class:`Traffic` is all operators of a step. Nothing here knows a machine or a second.

The equation of a term *is* its computation: :func:`term` evaluates the text, so what ``explain`` prints cannot drift
from what was priced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kvwall.hardware.dtype import Dtype

if TYPE_CHECKING:
    from kvwall.simulator.kernel_time.call import KernelCall

Array = NDArray[np.float64]
Numeric = float | Array

#: Symbols that several terms share, passed on as keywords.
Symbols = dict[str, Any]

Resource = Literal[
    "hbm",  # bytes moved between device memory and the chip
    "l2",  # bytes that the units read from the last-level cache they share
    "matrix",  # FLOP on the matrix unit, at the term's dtype
    "vector",  # FLOP on the vector unit (an FMA counts 2)
    "host link in",  # bytes from host memory to the device
    "host link out",  # bytes from the device to host memory
    "host dram",  # bytes moved by the host's processors
    "host compute",  # FLOP on the host's processors
    "ssd",  # bytes read from drives
    "flash",  # bytes that drives with processors of their own read inside
    "drive compute",  # FLOP on the processors of drives
    "drive link",  # bytes between such drives and the device
    "scale up",  # bytes one device sends over the links inside a node
    "peer",  # bytes one device sends to another of its node over the host's bus
    "scale out",  # bytes one device sends over the network between nodes
    "host",  # seconds of the serving engine's own work on the host
    "hops",  # messages over links inside a node that must follow one another
    "peer hops",  # messages over the host's bus that must follow one another
    "network hops",  # messages between nodes that must follow one another
    "latency",  # seconds that neither bytes nor FLOP explain
]

UNITS: dict[Resource, str] = {
    "hbm": "bytes",
    "l2": "bytes",
    "matrix": "FLOP",
    "vector": "FLOP",
    "host link in": "bytes",
    "host link out": "bytes",
    "host dram": "bytes",
    "host compute": "FLOP",
    "ssd": "bytes",
    "flash": "bytes",
    "drive compute": "FLOP",
    "drive link": "bytes",
    "scale up": "bytes",
    "peer": "bytes",
    "scale out": "bytes",
    "host": "s",
    "hops": "messages",
    "peer hops": "messages",
    "network hops": "messages",
    "latency": "s",
}

#: What a term is counted under in an answer.
Tally = Literal["", "weights", "kv read", "kv written"]

#: How a kernel behaves, which is all that a class default of efficiency may depend on.
Kind = Literal["gemm", "experts", "attention", "elementwise", "collective", "copy", "host"]

#: Operators on one stream run one after another; streams run side by side.
Stream = Literal["compute", "copy in", "copy out", "network"]

_FUNCTIONS: dict[str, Any] = {
    "__builtins__": {},
    "min": np.minimum,
    "max": np.maximum,
    "ceil": np.ceil,
    "log2": np.log2,
}


@lru_cache(maxsize=4096)
def _compiled(equation: str) -> CodeType:
    return compile(equation, f"<{equation}>", "eval")


@dataclass(frozen=True, slots=True)
class Term:
    """An amount on a resource, with the equation it was computed from.

    :ivar name: what the amount is, e.g. ``"read keys"``
    :ivar resource: what it occupies
    :ivar amount: per rank and step, in the unit of the resource; broadcasts over batch and context
    :ivar equation: the formula, in the symbols of ``symbols``
    :ivar symbols: the numbers that stand for the symbols
    :ivar reference: where the equation is from
    :ivar tally: what an answer counts the amount under
    :ivar compulsory: no implementation of this operator can avoid it, so it binds the ideal time as well
    :ivar dtype: operand dtype of a matrix product
    :ivar unless_native: charged only on devices without a matrix unit for this dtype
    :ivar spread: amount at the low and at the high end of its band, as a factor of the amount
    """

    name: str
    resource: Resource
    amount: Numeric
    equation: str
    symbols: dict[str, Numeric] = field(repr=False)
    reference: str
    tally: Tally = ""
    compulsory: bool = True
    dtype: Dtype = "bf16"
    unless_native: Dtype | None = None
    spread: tuple[float, float] = (1.0, 1.0)


def term(
    name: str,
    resource: Resource,
    equation: str,
    reference: str,
    *,
    tally: Tally = "",
    compulsory: bool = True,
    dtype: Dtype = "bf16",
    unless_native: Dtype | None = None,
    spread: tuple[float, float] = (1.0, 1.0),
    **symbols: Numeric,
) -> Term:
    """A term whose amount is what ``equation`` says of ``symbols``; see :class:`Term` for the arguments."""
    amount = eval(_compiled(equation), _FUNCTIONS, symbols)
    return Term(name, resource, amount, equation, symbols, reference, tally, compulsory, dtype, unless_native, spread)


@dataclass(frozen=True, slots=True)
class Operator:
    """The terms that one kernel, copy or collective pays at once.

    :ivar owner: the part of the model it belongs to: attention, feed-forward, head, network, host, or a scheme
    :ivar name: what it does
    :ivar kind: how such a kernel behaves
    :ivar terms: what it asks of the machine, per rank and step, all layers together
    :ivar launches: kernels started per step on one rank
    :ivar stream: what it runs beside
    :ivar ranks: how many ranks of the deployment pay it, so that totals can be summed
    :ivar call: the kernel it starts, where a kernel model may know its time
    :ivar basis: the plain kernel of the same shape, where no kernel model knows this one: what is known of the plain
        one then carries over in proportion
    """

    owner: str
    name: str
    kind: Kind
    terms: tuple[Term, ...]
    launches: Numeric = 0.0
    stream: Stream = "compute"
    ranks: Numeric = 1.0
    call: KernelCall | None = None
    basis: Operator | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages through which the parts of a batch follow one another; none may enter a stage that is still busy.

    :ivar microbatches: parts of the batch
    :ivar fullest: part of the layers that the fullest stage has
    :ivar last: part of the layers that the last stage has, beside its head
    """

    microbatches: Numeric
    fullest: float
    last: float

    def slowest(self, layers_s: Numeric, head_s: Numeric) -> Numeric:
        """Seconds in which all parts pass the slowest stage: ``m max(fullest T, last T + head)``."""
        return self.microbatches * np.maximum(self.fullest * layers_s, self.last * layers_s + head_s)


@dataclass(frozen=True, slots=True)
class Traffic:
    """All operators of one step, in the order in which they run.

    :ivar operators: per-rank operators; a sequence of pipeline stages is one path through all of them
    :ivar notes: what was assumed
    :ivar pipeline: the stages that the operators are spread over
    """

    operators: tuple[Operator, ...]
    notes: tuple[str, ...] = ()
    pipeline: Pipeline | None = None

    def total(self, tally: Tally) -> Numeric:
        """Bytes of ``tally`` per step, summed over all ranks."""
        amounts = [t.amount * o.ranks for o in self.operators for t in o.terms if t.tally == tally]
        return sum(amounts, start=np.float64(0.0))

    def resource_total(self, resource: Resource) -> Numeric:
        """Amount on ``resource`` per step, summed over all ranks."""
        amounts = [t.amount * o.ranks for o in self.operators for t in o.terms if t.resource == resource]
        return sum(amounts, start=np.float64(0.0))
