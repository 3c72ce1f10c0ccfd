"""Whole prompts in one forward pass of Hugging Face transformers: the longest that fits, and eager attention."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kvwall.simulator.reserve import rank_shape
from kvwall.validate.reproducing.point import Point, quantity

#: Rows of the residual stream beside the widest layer, and bytes of an activation.
_HIDDEN_ROWS, _ACTIVATION_BYTES = 3, 2
#: Logits of every prompt token: 16 bits and their copy in 32 (transformers of 2024, ``logits.float()``).
_LOGIT_BYTES = 6
#: Longest prompt that is searched for.
_LONGEST_TOKENS = 2.0**24
#: Bytes that eager attention moves of one weight: 16-bit scores and weights, written twice and read three times.
_EAGER_BYTES = 10.0


@quantity
def longest_flash_prompt(point: Point) -> float:
    """Tokens of a prompt whose attention never writes its weights down."""
    return _longest(point, lambda tokens: 0.0)


@quantity
def longest_eager_prompt(point: Point) -> float:
    """Tokens of a prompt whose attention keeps ``B H S^2`` weights of a layer in 16 bits."""
    heads = max(getattr(group, "q_heads", 0) for group in point.setup.model.attention)
    return _longest(point, lambda tokens: 2.0 * point.batch * heads * tokens**2)


@quantity
def longest_prompt_gain(point: Point) -> float:
    """Longest prompt under the scheme, with fused attention, over that of the eager baseline without it."""
    return longest_flash_prompt(point) / longest_eager_prompt(point.at(scheme="none"))


@quantity
def eager_step_s(point: Point) -> float:
    """A step whose attention writes its weights down (transformers of 2023), at the data sheet's rate of memory."""
    new = point.context if point.words["phase"] == "prefill" else 1.0
    heads = sum(getattr(group, "q_heads", 0) * group.layers for group in point.setup.model.attention)
    moved = _EAGER_BYTES * point.batch * heads * new * point.context
    return float(point.found.step_s.mid) + moved / point.setup.system.device.hbm.bandwidth_bytes_per_s


def _longest(point: Point, weights_of_attention: Callable[[float], float]) -> float:
    """By bisection: weights, context, the cache at its peak, and what one layer or the logits need beside it."""
    setup, capacity = point.setup, point.capacity
    shape = rank_shape(setup.model, setup.deployment.attention_tp, setup.deployment.pp)
    fixed = capacity.weights.mid + setup.engine.reserve.context_bytes.mid
    row = _ACTIVATION_BYTES * (shape.widest_layer + _HIDDEN_ROWS * shape.hidden_size)

    def fits(tokens: float) -> bool:
        kept = float(capacity.sequence_bytes(tokens)) + float(capacity.prompt_extra_bytes(tokens))
        layer = point.batch * row * tokens + weights_of_attention(tokens)
        logits = point.batch * _LOGIT_BYTES * shape.vocab_size * tokens
        return fixed + point.batch * kept + max(layer, logits) <= setup.memory_bytes

    low, high = 1.0, _LONGEST_TOKENS
    while high - low > 1:
        middle = float(np.floor((low + high) / 2))
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
