"""Workloads: how long requests are, how many users send them, and how fast they must be answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kvwall.hardware.errors import InputError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Counts = int | Sequence[int] | IntArray


def count_array(value: Counts, what: str, lowest: int = 0) -> IntArray:
    """``value`` as a read-only array of whole numbers.

    :raises InputError: not whole numbers, or one below ``lowest``
    """
    raw = np.asarray(value)
    if raw.dtype.kind not in "iu" or raw.size == 0:
        raise InputError(f"{what} {value!r} is not one or more whole numbers; write for example 8192")
    array = raw.astype(np.int64)
    if array.min() < lowest:
        raise InputError(f"{what} {int(array.min())} is below {lowest}; write for example 8192")
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class RequestClass:
    """Requests of one kind.

    :ivar name: what people call it
    :ivar share: fraction of all requests, 0 to 1
    :ivar input_tokens: prompt tokens, the shared prefix included; an array that broadcasts
    :ivar output_tokens: generated tokens; an array that broadcasts
    :ivar shared_prefix_tokens: leading prompt tokens that all requests of the class have in common
    """

    name: str
    share: float
    input_tokens: IntArray
    output_tokens: IntArray
    shared_prefix_tokens: IntArray

    @classmethod
    def of(
        cls,
        input_tokens: Counts,
        output_tokens: Counts,
        shared_prefix_tokens: Counts = 0,
        share: float = 1.0,
        name: str = "requests",
    ) -> RequestClass:
        """A class from plain numbers or sequences.

        :raises InputError: an empty prompt or answer, a prefix longer than the prompt, a share outside 0 to 1
        """
        where = f"request class {name!r}:"
        inputs = count_array(input_tokens, f"{where} input", 1)
        outputs = count_array(output_tokens, f"{where} output", 1)
        prefix = count_array(shared_prefix_tokens, f"{where} shared_prefix")
        if not 0 < share <= 1:
            raise InputError(f"{where} share {share:g} is outside 0 to 1; write for example 0.7")
        if (_broadcast(where, prefix, inputs, outputs)[0] > inputs).any():
            raise InputError(f"{where} shared_prefix {prefix.max()} is longer than the input {inputs.min()}")
        return cls(name, float(share), inputs, outputs, prefix)


@dataclass(frozen=True, eq=False)
class Workload:
    """Requests of one or more classes, and the users who send them; every count is an array, and all broadcast.

    :ivar mix: the request classes; their shares add up to 1
    :ivar users: concurrent users, each with one request in flight or thinking
    :ivar think_time_s: seconds between an answer and the user's next request
    :ivar ttft_s: target for the time to first token, if there is one
    :ivar tpot_s: target for the time per output token, if there is one
    """

    mix: tuple[RequestClass, ...]
    users: IntArray
    think_time_s: float = 0.0
    ttft_s: float | None = None
    tpot_s: float | None = None

    @classmethod
    def of(
        cls,
        mix: Sequence[RequestClass],
        users: Counts = 1,
        think_time_s: float = 0.0,
        ttft_s: float | None = None,
        tpot_s: float | None = None,
    ) -> Workload:
        """A workload from its classes.

        :raises InputError: no class, shares that do not add up to 1, shapes that do not broadcast, a negative time
        """
        if not mix:
            raise InputError("the workload has no request class; give an input and an output length")
        total = sum(request.share for request in mix)
        if abs(total - 1) > 1e-6:
            raise InputError(f"the shares of the mix add up to {total:g}, not to 1")
        for name, value in (("think_time", think_time_s), ("ttft", ttft_s), ("tpot", tpot_s)):
            lowest = 0.0 if name == "think_time" else 1e-9
            if value is not None and not lowest <= value < np.inf:
                raise InputError(f"{name} {value:g} s is not a time above 0; write for example '50 ms'")
        crowd = count_array(users, "users", 1)
        arrays = [array for request in mix for array in (request.input_tokens, request.output_tokens)]
        _broadcast("the workload:", crowd, *arrays)
        return cls(tuple(mix), crowd, float(think_time_s), ttft_s, tpot_s)

    @property
    def input_tokens(self) -> FloatArray:
        """Mean prompt length of a request."""
        return self._mean_over_requests([request.input_tokens for request in self.mix])

    @property
    def output_tokens(self) -> FloatArray:
        """Mean answer length of a request."""
        return self._mean_over_requests([request.output_tokens for request in self.mix])

    @property
    def shared_prefix_tokens(self) -> FloatArray:
        """Mean length of the prefix that a request shares with its class."""
        return self._mean_over_requests([request.shared_prefix_tokens for request in self.mix])

    @property
    def decode_shares(self) -> tuple[FloatArray, ...]:
        """Fraction of the decoding sequences that is of each class at a moment chosen at random.

        At one TPOT for all, a request decodes for as long as its answer is: share x output / sum(share x output).
        """
        weights = [request.share * request.output_tokens for request in self.mix]
        total = np.asarray(sum(weights[1:], weights[0]), dtype=np.float64)
        return tuple(np.asarray(weight / total, dtype=np.float64) for weight in weights)

    @property
    def decode_context_tokens(self) -> FloatArray:
        """Mean tokens cached by a decoding sequence at a moment chosen at random.

        Sum over classes of decode share x (input + output / 2): an answer is half written on average.
        """
        parts = [
            share * (request.input_tokens + request.output_tokens / 2)
            for share, request in zip(self.decode_shares, self.mix, strict=True)
        ]
        return np.asarray(sum(parts[1:], parts[0]), dtype=np.float64)

    @property
    def peak_context_tokens(self) -> IntArray:
        """Tokens cached by the longest request when its answer is complete."""
        longest = self.mix[0].input_tokens + self.mix[0].output_tokens
        for request in self.mix[1:]:
            longest = np.maximum(longest, request.input_tokens + request.output_tokens)
        return np.asarray(longest, dtype=np.int64)

    def requests_in_flight(self, response_s: FloatArray | float) -> FloatArray:
        """Mean requests in flight when an answer takes ``response_s`` seconds: users x response / (response + think).

        This is Little's law for a closed system (Little, Operations Research 9, 1961).
        """
        response = np.asarray(response_s, dtype=np.float64)
        busy = response / (response + self.think_time_s) if self.think_time_s else np.ones_like(response)
        return np.asarray(self.users * busy, dtype=np.float64)

    def _mean_over_requests(self, arrays: list[IntArray]) -> FloatArray:
        parts = [request.share * array for request, array in zip(self.mix, arrays, strict=True)]
        return np.asarray(sum(parts[1:], parts[0]), dtype=np.float64)


def _broadcast(where: str, *arrays: IntArray) -> tuple[IntArray, ...]:
    try:
        return tuple(np.broadcast_arrays(*arrays))
    except ValueError:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise InputError(f"{where} the shapes {shapes} do not broadcast") from None
