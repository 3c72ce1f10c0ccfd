"""``kvwall fit``: what of a machine's memory is left for the cache, and how much fits into it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.base import Part, Range, SetupAnswer, band, number, setup_fields
from kvwall.simulator.answers.step import context_warnings
from kvwall.simulator.auto import settle
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes
from kvwall.simulator.inquiry import Inquiry, Resolved, resolve
from kvwall.simulator.remedy import smallest_change

_GIB = 2.0**30


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
    dp = setup.deployment.dp
    tokens_band = band(capacity.kv_tokens)
    return FitAnswer(
        **fields,
        context=tokens,
        users=users,
        utilization=capacity.utilization,
        utilization_of=setup.engine.utilization_of,
        fits=fits,
        reason=_reason(capacity, users, fits),
        per_gpu=_per_gpu(capacity),
        kv_bytes_per_token_per_gpu=number(capacity.bytes_per_token),
        kv_bytes_per_sequence_per_gpu=number(capacity.bytes_per_sequence),
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
        usable_bytes=_usable_bytes(capacity),
        weights_bytes=capacity.weights_arithmetic_bytes,
        weights_loaded_bytes=band(capacity.weights),
        reserve_bytes=band(reserve.total),
        reserve_parts=parts,
        kv_bytes=band(capacity.kv),
    )


def _usable_bytes(capacity: Capacity) -> float:
    """Memory that the engine takes for all it keeps; a fraction of what is free after loading holds nothing back."""
    setup = capacity.setup
    held_back = setup.engine.utilization_of in ("total memory", "static fraction")
    return setup.memory_bytes * (capacity.utilization if held_back else 1.0)


def _reason(capacity: Capacity, users: int, fits: bool) -> str:
    """Why it fits or not, and the smallest change to a yes."""
    context = capacity.context
    each = float(capacity.sequence_bytes(float(context)))
    replicas = capacity.setup.deployment.dp
    if fits:
        room = capacity.max_concurrency.mid * replicas
        return f"there is room for {room:,.1f} sequences of {context:,} tokens, {users:,} asked for"
    change = smallest_change(capacity, users)
    tail = f"; {change}" if change else ""
    if capacity.pool.mid <= 0 and capacity.setup.overrides.kv_bytes is None:
        weights, reserve = capacity.weights.mid / _GIB, capacity.reserve.total.mid / _GIB
        usable = _usable_bytes(capacity) / _GIB
        return f"weights {weights:.2f} GiB + reserve {reserve:.2f} GiB exceed {usable:.2f} GiB usable per GPU{tail}"
    prompt = float(capacity.prompt_extra_bytes(float(context)))
    if prompt > capacity.kv.mid:
        whole = (each + prompt) / _GIB
        prompt_text = f"a prompt of {context:,} tokens needs {whole:.2f} GiB until its last chunk is prefilled"
        return f"{prompt_text}, the pool has {capacity.kv.mid / _GIB:.2f} GiB{tail}"
    per_rank = np.ceil(np.float64(users) / (replicas * capacity.setup.deployment.attn_dp))
    for place, (needed, there) in capacity.beside(per_rank, float(context)).items():
        if needed > there:
            kept = f"keep {float(needed) / _GIB:,.0f} GiB per GPU on {place}"
            return f"{users} x {context} tokens {kept}, whose part of it is {there / _GIB:,.0f} GiB{tail}"
    room = capacity.max_concurrency.mid * replicas
    pool = capacity.kv.mid / _GIB
    need = f"{users:,} x {context:,} tokens need {each / _GIB:.2f} GiB each per GPU"
    return f"{need}, the pool of {pool:.2f} GiB holds {room:,.2f}{tail}"
