"""The load of a plan: one request length, or a mix, as the few means that the service model needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kvwall.simulator.traffic import Array
from kvwall.workloads.workload import Workload


def counted(number: int, noun: str) -> str:
    """``1 user`` or ``1,024 users``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


@dataclass(frozen=True, eq=False)
class Load:
    """Requests of one or more classes; arrays have one element per class.

    :ivar shares: fraction of all requests
    :ivar inputs: prompt tokens, the shared prefix included
    :ivar outputs: generated tokens
    :ivar prefixes: leading prompt tokens that all requests of the class share
    :ivar users: concurrent users; ``None`` when as many as the machine can serve
    :ivar think_s: seconds between an answer and the user's next request
    :ivar half_written: memory holds sequences of which half the answer is written, as in the steady state of an engine
        that admits whatever fits and preempts; otherwise each has room for its whole answer
    """

    shares: Array
    inputs: Array
    outputs: Array
    prefixes: Array
    users: int | None
    think_s: float = 0.0
    half_written: bool = False

    @property
    def output_tokens(self) -> float:
        """Mean answer length of a request."""
        return float(self.shares @ self.outputs)

    @property
    def input_tokens(self) -> float:
        """Mean prompt length of a request."""
        return float(self.shares @ self.inputs)

    @property
    def prefix_tokens(self) -> int:
        """Mean shared prefix of a request."""
        return int(self.shares @ self.prefixes)

    @property
    def decode_shares(self) -> Array:
        """Fraction of the decoding sequences of each class: share x output, normalised (one TPOT for all)."""
        weights = self.shares * self.outputs
        return np.asarray(weights / weights.sum())

    @property
    def decode_context_tokens(self) -> float:
        """Mean tokens cached by a decoding sequence, whose answer is half written: input + output / 2."""
        return float(self.decode_shares @ (self.inputs + self.outputs / 2))

    @property
    def decode_generated_tokens(self) -> float:
        """Mean tokens of that context that were generated."""
        return float(self.decode_shares @ (self.outputs / 2))

    @property
    def complete_context_tokens(self) -> int:
        """Mean tokens cached by a decoding sequence once it is complete: what memory is reserved for."""
        return int(np.ceil(self.decode_shares @ (self.inputs + self.outputs)))

    @property
    def held_context_tokens(self) -> int:
        """Mean tokens that memory holds for a decoding sequence."""
        return int(np.ceil(self.decode_context_tokens)) if self.half_written else self.complete_context_tokens

    @property
    def peak_context_tokens(self) -> int:
        """Tokens of the longest request when it is complete."""
        return int((self.inputs + self.outputs).max())

    @property
    def text(self) -> str:
        """The load in words."""
        lengths = ", ".join(
            f"{share:.0%} of {int(i):,} in and {int(o):,} out" if share < 1 else f"{int(i):,} in and {int(o):,} out"
            for share, i, o in zip(self.shares, self.inputs, self.outputs, strict=True)
        )
        crowd = "as many users as can be served" if self.users is None else counted(self.users, "user")
        return f"{crowd}; {lengths}"


def load_of(workload: Workload, users_known: bool = True) -> Load:
    """The load of ``workload``; of a range the largest number is taken, since a plan must hold for all of it."""

    def largest(values: list[np.ndarray]) -> Array:
        return np.asarray([float(np.max(value)) for value in values])

    mix = workload.mix
    return Load(
        np.asarray([request.share for request in mix]),
        largest([request.input_tokens for request in mix]),
        largest([request.output_tokens for request in mix]),
        largest([request.shared_prefix_tokens for request in mix]),
        int(np.max(workload.users)) if users_known else None,
        workload.think_time_s,
    )
