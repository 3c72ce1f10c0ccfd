"""Equivalent FLOP of a generation: computation and memory traffic in one number (Kinetics, arXiv 2506.05333).

``eFLOP = compute + I x bytes``, where ``I`` is what a machine computes while it moves one byte. Reads of weights are
left out (a large batch shares them), elements take 2 bytes, and ``trials`` of one prompt read its cache together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kvwall.simulator.traffic import Numeric
from kvwall.workloads.model_spec import HeadAttention, ModelSpec
from kvwall.workloads.parameters import count_parameters

#: FLOP per byte of the published model: 4.5 PFLOP/s over 8 TB/s (B200).
INTENSITY = 562.5


@dataclass(frozen=True)
class Eflops:
    """What generating takes, in FLOP and in FLOP that the moved bytes are worth."""

    compute: Numeric
    memory: Numeric

    @property
    def total(self) -> Numeric:
        """Both together."""
        return self.compute + self.memory


@dataclass(frozen=True)
class Widths:
    """Of a model: parameters, and channels of all query heads and of all KV heads over its layers."""

    parameters: float
    queries: float
    keys: float


def widths(model: ModelSpec) -> Widths:
    """``P``, ``L H_q d`` and ``L H_kv d`` of ``model``."""
    heads = [group for group in model.attention if isinstance(group, HeadAttention)]
    return Widths(
        count_parameters(model).active,
        sum(group.layers * group.q_heads * group.head_dim for group in heads),
        sum(group.layers * group.kv_heads * group.head_dim for group in heads),
    )


def dense(model: Widths, prompt: Numeric, answer: Numeric, trials: Numeric = 1.0) -> Eflops:
    """``N (2 P g + 2 (2c + g) g q)`` and ``I 2 (2c + g N) g k`` for ``N`` trials of ``g`` tokens after ``c``.

    :param model: ``P`` parameters, ``q`` query and ``k`` KV channels over all layers
    """
    p, q, k = model.parameters, model.queries, model.keys
    compute = trials * (2 * p * answer + 2 * (2 * prompt + answer) * answer * q)
    return Eflops(compute, INTENSITY * 2 * (2 * prompt + answer * trials) * answer * k)


def attended_tokens(prompt: Numeric, answer: Numeric, budget: Numeric) -> Numeric:
    """``sum of min(b, c + t)`` of an answer, as the paper counts it: ``b g - max(0, b - c)^2 / 2``, ``b <= c + g``."""
    return budget * answer - 0.5 * np.maximum(0.0, budget - prompt) ** 2


def sparse(model: Widths, prompt: Numeric, answer: Numeric, budget: Numeric, trials: Numeric = 1.0) -> Eflops:
    """Attention to ``budget`` tokens that cost nothing to find: ``N (2 P g + 4 q T)`` and ``I N 4 k T``."""
    tokens = attended_tokens(prompt, answer, budget)
    compute = trials * (2 * model.parameters * answer + 4 * model.queries * tokens)
    return Eflops(compute, INTENSITY * trials * 4 * model.keys * tokens)


def block_topk(
    model: Widths, prompt: Numeric, answer: Numeric, *, local: Numeric, page: Numeric, blocks: Numeric,
    trials: Numeric = 1.0,
) -> Eflops:  # fmt: skip
    """Attention to ``local`` tokens and the best ``blocks`` blocks of ``page``, whose mean keys are all scored.

    Finding them adds ``N floor((2c + g) / p) g q`` and ``I floor((2c + g N) / p) g k``.
    """
    found = sparse(model, prompt, answer, local + page * blocks, trials)
    search = trials * np.floor((2 * prompt + answer) / page) * answer * model.queries
    index = INTENSITY * np.floor((2 * prompt + answer * trials) / page) * answer * model.keys
    return Eflops(found.compute + search, found.memory + index)
