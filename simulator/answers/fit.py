"""``kvwall fit``: what of a machine's memory is left for the cache, and how much fits into it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.base import Part, Range, SetupAnswer, band, number, setup_fields
from kvwall.simulator.answers.limits import context_warnings, fit_reason, usable_bytes
from kvwall.simulator.auto import settle
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes
from kvwall.simulator.inquiry import Inquiry, Resolved, resolve
from kvwall.simulator.pools import one_pool


class ReservePart(Part):
    """One named part of what a rank keeps for itself."""

    name: str
    bytes: Range
    equation: str
    reference: str


class PerGpu(Part):
    """Memory of one rank, the fullest."""

    memory_bytes: float
    usable_bytes: float
    weights_bytes: float
    weights_loaded_bytes: Range
    reserve_bytes: Range
    reserve_parts: tuple[ReservePart, ...]
    kv_bytes: Range


class FitAnswer(SetupAnswer):
    """What fits."""

    context: int
    users: int
    utilization: float
    utilization_of: str
    fits: bool
    reason: str
    per_gpu: PerGpu
    kv_bytes_per_token_per_gpu: float
    kv_bytes_per_sequence_per_gpu: float
    kv_bytes_asked_per_gpu: float
    kv_tokens: Range
    kv_tokens_total: Range
    max_concurrency: Range
    block_tokens: int

    @property
    def says_no(self) -> str | None:
        """The reason when it does not fit."""
        return None if self.fits else self.reason


def fit(model: str, *, on: str, context: int | None = None, users: int = 1, **options: Any) -> FitAnswer:
    """What fits of ``model`` on ``on``.

    :param context: tokens per sequence; the model's longest, up to 32k, unless given
    :param users: sequences that must fit at once in the whole deployment
    :param options: the other fields of :class:`Inquiry`
    :raises InputError: bad input
    """
    one_pool(on, "fit")
    return answer_fit(resolve(Inquiry(model, on, **options)), context, users)


def answer_fit(resolved: Resolved, context: int | None = None, users: int = 1) -> FitAnswer:
    """:func:`fit` of a setup that is resolved already."""
    if users < 1:
        raise InputError(f"--users {users}: must be a whole number from 1")
    setup = resolved.setup
    tokens = context or min(setup.max_model_len or setup.model.max_context, 32768)
    setup, settled = settle(setup, Axes(float(users), float(tokens)))
    resolved = replace(resolved, setup=setup, assumptions=(*resolved.assumptions, *settled))
    capacity = Capacity(setup, tokens)
    fits = bool(capacity.fits(float(users), float(tokens)))
    fields = setup_fields(resolved)
    fields["warnings"] = (*fields["warnings"], *context_warnings(setup, tokens))
    if capacity.tokens_rule:
        fields["assumptions"] = (*fields["assumptions"], capacity.tokens_rule)
    dp = setup.deployment.dp
    each = math.ceil(users / (dp * setup.deployment.attn_dp))
    tokens_band = band(capacity.kv_tokens)
    return FitAnswer(
        **fields,
        context=tokens,
        users=users,
        utilization=capacity.utilization,
        utilization_of=setup.engine.utilization_of,
        fits=fits,
        reason=fit_reason(capacity, users, fits),
        per_gpu=_per_gpu(capacity),
        kv_bytes_per_token_per_gpu=number(capacity.marginal_bytes),
        kv_bytes_per_sequence_per_gpu=number(capacity.bytes_per_sequence),
        kv_bytes_asked_per_gpu=number(each * capacity.sequence_bytes(float(tokens), sequences=float(each))),
        kv_tokens=tokens_band,
        kv_tokens_total=Range(low=tokens_band.low * dp, mid=tokens_band.mid * dp, high=tokens_band.high * dp),
        max_concurrency=band(capacity.max_concurrency),
        block_tokens=setup.block,
    )


def _per_gpu(capacity: Capacity) -> PerGpu:
    setup, reserve = capacity.setup, capacity.reserve
    parts = tuple(
        ReservePart(name=part.name, bytes=band(part.bytes), equation=part.equation, reference=part.reference)
        for part in reserve.components
    )
    return PerGpu(
        memory_bytes=setup.memory_bytes,
        usable_bytes=usable_bytes(capacity),
        weights_bytes=capacity.weights_arithmetic_bytes,
        weights_loaded_bytes=band(capacity.weights),
        reserve_bytes=band(reserve.total),
        reserve_parts=parts,
        kv_bytes=band(capacity.kv),
    )
