"""What an inverse question may solve for: how a value is put into it, and which end of what is met is wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kvwall.hardware.errors import InputError
from kvwall.simulator.inquiry import Inquiry
from kvwall.simulator.stack import parse_stack, scheme_class


@dataclass(frozen=True)
class Asked:
    """An inverse question with a value in place of its unknown.

    :ivar batch: sequences of the whole deployment
    :ivar context: cached tokens per sequence
    """

    inquiry: Inquiry
    batch: float
    context: float


@dataclass(frozen=True)
class Unknown:
    """One unknown.

    :ivar unit: of its values
    :ivar low: the least value that is looked at
    :ivar high: the largest
    :ivar whole: only whole numbers make sense
    :ivar wants_most: the largest value that meets the targets is the answer; otherwise the least
    :ivar put: a question with the value in its place
    """

    name: str
    unit: str
    low: float
    high: float
    whole: bool
    wants_most: bool
    put: Callable[[Asked, float], Asked]


def _bandwidth(asked: Asked, value: float) -> Asked:
    changed = (*asked.inquiry.set, f"device.hbm.bandwidth={value:.9g} B/s")
    return replace(asked, inquiry=replace(asked.inquiry, set=changed))


def _price(asked: Asked, value: float) -> Asked:
    return replace(asked, inquiry=replace(asked.inquiry, price_usd_per_gpu_hour=value))


def _utilization(asked: Asked, value: float) -> Asked:
    return replace(asked, inquiry=replace(asked.inquiry, utilization=value))


def _gpus(asked: Asked, value: float) -> Asked:
    device = asked.inquiry.on.partition(":")[0]
    return replace(asked, inquiry=replace(asked.inquiry, on=f"{device}:{int(value)}"))


def _bits(asked: Asked, value: float) -> Asked:
    """The bits of a ``quantize`` in the stack, or of one that is added with a group of 128 and its 16-bit scale."""
    placed = _with_option(asked, "bits", lambda name: f"{value:.9g}", "quantize:group=128,zero_bits=0")
    try:
        parse_stack(placed.inquiry.scheme, placed.inquiry.kv_dtype)
    except InputError as error:
        raise InputError(f"--for bits: the stack has none to solve for, and they cannot be added ({error})") from None
    return placed


def _keep(asked: Asked, value: float) -> Asked:
    """The part that a scheme of the stack keeps: its ``keep``, or its ``budget`` over the context."""

    def option(name: str) -> str:
        return f"{value:.9g}" if name == "keep" else str(max(1, round(value * asked.context)))

    stack = parse_stack(asked.inquiry.scheme, asked.inquiry.kv_dtype)
    names = {key for scheme in stack.schemes for key in type(scheme).model_fields}
    key = "keep" if "keep" in names else "budget"
    return _with_option(asked, key, option, None)


def _with_option(asked: Asked, key: str, value: Callable[[str], str], otherwise: str | None) -> Asked:
    """The stack with ``key`` of the first scheme that has it set, or of ``otherwise`` stacked on it."""
    texts = [text for text in asked.inquiry.scheme.split("+") if text != "none"]
    for place, text in enumerate(texts):
        name, _, options = text.partition(":")
        field = scheme_class(name).model_fields.get(key)
        if field is not None and (key != "bits" or field.annotation is float):
            kept = [part for part in options.split(",") if part and part.partition("=")[0].strip() != key]
            texts[place] = f"{name}:{','.join([*kept, f'{key}={value(key)}'])}"
            return replace(asked, inquiry=replace(asked.inquiry, scheme="+".join(texts)))
    if otherwise is None:
        raise InputError(
            f"--for keep with --scheme {asked.inquiry.scheme}: no scheme has a keep or a budget (as palu or snapkv)"
        )
    stacked = "+".join([*texts, f"{otherwise},{key}={value(key)}"])
    return replace(asked, inquiry=replace(asked.inquiry, scheme=stacked))


UNKNOWNS: dict[str, Unknown] = {
    unknown.name: unknown
    for unknown in (
        Unknown("context", "tokens", 1.0, 2.0**24, True, True, lambda asked, x: replace(asked, context=x)),
        Unknown("batch", "sequences", 1.0, 2.0**17, True, True, lambda asked, x: replace(asked, batch=x)),
        Unknown("bandwidth", "B/s", 1e9, 1e15, False, False, _bandwidth),
        Unknown("bits", "bits", 1.0, 16.0, False, True, _bits),
        Unknown("keep", "fraction", 2.0**-10, 1.0, False, True, _keep),
        Unknown("gpus", "GPUs", 1.0, 1024.0, True, False, _gpus),
        Unknown("price", "USD per GPU-hour", 1e-3, 1e4, False, True, _price),
        Unknown("utilization", "fraction", 1e-3, 1.0, False, False, _utilization),
    )
}

#: Unknowns along which a whole array is priced at once.
VECTORISED = frozenset({"context", "batch"})


def grid_of(unknown: Unknown, points: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Values at which an unknown is looked at first, geometric over its range; counts of GPUs are those people rent."""
    if unknown.name == "gpus":
        return np.array([1.0, 2.0, 3.0, 4.0, 6.0, 8.0, *np.arange(16.0, unknown.high + 1, 8.0)])
    values = np.geomspace(unknown.low, unknown.high, points)
    return np.unique(np.round(values)) if unknown.whole else values
