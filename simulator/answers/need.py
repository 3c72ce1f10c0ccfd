"""``kvwall need``: the memory that a model and its users need, and the machines that would hold them."""

from __future__ import annotations

from typing import Any

import numpy as np

from kvwall.hardware.device import DEVICES
from kvwall.hardware.engine_version import find_engine
from kvwall.hardware.errors import InputError, KvwallError
from kvwall.simulator.answers.base import Answer, Part, number
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.dense import dense_cache
from kvwall.simulator.deployment import Deployment
from kvwall.simulator.inquiry import Inquiry, native_weights, resolve
from kvwall.simulator.stack import parse_stack
from kvwall.simulator.weights_memory import rank_weights
from kvwall.workloads.model_lookup import find_model
from kvwall.workloads.weight_format import WEIGHTS

#: Devices of one machine that are tried.
_COUNTS = (1, 2, 4, 8)


class Holder(Part):
    """A machine that would hold everything, with its room."""

    device: str
    gpus: int
    kv_tokens: float
    max_concurrency: float
    usd_per_hour: float | None


class Amount(Part):
    """Bytes, in both units people use."""

    bytes: float
    gib: float


class NeedAnswer(Answer):
    """What must be held, whatever holds it."""

    model: str
    weights: str
    scheme: str
    context: int
    users: int
    weights_bytes: Amount
    kv_bytes_per_token: float
    kv_bytes_per_user: Amount
    kv_bytes_total: Amount
    total: Amount
    holders: tuple[Holder, ...]


def need(
    model: str,
    *,
    context: int,
    users: int = 1,
    weights: str | None = None,
    scheme: str = "none",
    kv_dtype: str | None = None,
    engine: str = "vllm",
) -> NeedAnswer:
    """The memory that ``model`` and ``users`` sequences of ``context`` tokens need.

    :raises InputError: bad input
    """
    if users < 1 or context < 1:
        raise InputError(f"--users {users} --context {context}: must be whole numbers from 1")
    name, spec = find_model(model)
    weights_name = native_weights(spec) if weights is None else WEIGHTS.resolve(weights)
    form = WEIGHTS.load(weights_name)
    stack = parse_stack(scheme, kv_dtype)
    stack.check(spec)
    spec = stack.reshape(spec)
    contexts = np.array([float(context), float(context) + 1e6, float(context) + 1e6 + 27_720 * 128.0])
    cache = stack.rewrite(dense_cache(spec, float(users), contexts))
    per_user, near, far = (number(value) for value in np.broadcast_to(cache.stored_bytes(), contexts.shape))
    weight_bytes = rank_weights(spec, form, Deployment(), cache.extra_weights).rank_bytes
    options = {"weights": weights_name, "scheme": scheme, "kv_dtype": kv_dtype, "engine": engine}
    warning = () if context <= spec.max_context else (f"context {context} exceeds the model's {spec.max_context}",)
    return NeedAnswer(
        assumptions=(
            f"holders: {find_engine(engine).name} at its default memory fraction, one tensor-parallel group",
            "windows and states are charged as a step needs them; an engine keeps more",
        ),
        warnings=warning,
        model=name,
        weights=weights_name,
        scheme=stack.text,
        context=context,
        users=users,
        weights_bytes=_amount(weight_bytes),
        kv_bytes_per_token=(far - near) / (27_720 * 128.0),
        kv_bytes_per_user=_amount(per_user),
        kv_bytes_total=_amount(per_user * users),
        total=_amount(weight_bytes + per_user * users),
        holders=tuple(holders(model, context, users, options)),
    )


def holders(model: str, context: int, users: int, options: dict[str, Any]) -> list[Holder]:
    """For each device the smallest number of them that would hold everything, cheapest first."""
    found: list[Holder] = []
    for device in DEVICES.names:
        if not DEVICES.load(device).is_card:
            continue
        for count in _COUNTS:
            try:
                resolved = resolve(Inquiry(model, f"{device}:{count}", tp=count, **options))
            except KvwallError:
                continue
            capacity = Capacity(resolved.setup, context)
            if bool(capacity.fits(float(users), float(context))):
                setup = resolved.setup
                room, tokens = capacity.max_concurrency.mid, capacity.kv_tokens.mid
                found.append(
                    Holder(
                        device=device,
                        gpus=count,
                        kv_tokens=number(tokens),
                        max_concurrency=number(room),
                        usd_per_hour=setup.usd_per_hour,
                    )
                )
                break
    return sorted(found, key=lambda holder: (holder.usd_per_hour is None, holder.usd_per_hour or 0.0))


def _amount(value: float) -> Amount:
    return Amount(bytes=value, gib=value / 2.0**30)
