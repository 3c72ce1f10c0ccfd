"""What an answer's points exceed: the memory of the deployment, the engine's largest batch, the model's context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from kvwall.hardware.errors import InputError
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, stored_bytes
from kvwall.simulator.kept import kept_cache
from kvwall.simulator.remedy import smallest_change
from kvwall.simulator.roofline import Basis, PricedTerm
from kvwall.simulator.setup import Setup

_GIB = 2.0**30

#: More points than this are a sweep, not a table.
MOST_POINTS = 10_000

#: A context at which copies are counted.
_SOME_TOKENS = 4096.0


def check_points(count: int) -> None:
    """Refuse a table that nobody can read."""
    if count > MOST_POINTS:
        raise InputError(f"--batch x --context: {count} points are too many for a table (at most {MOST_POINTS})")


def fits_at(setup: Setup, axes: Axes) -> Any:
    """Whether each point of ``axes`` fits into the memory of the deployment."""
    return Capacity(setup, 1).fits(axes.batch, axes.context)


def context_warnings(setup: Setup, longest: int) -> tuple[str, ...]:
    """A warning for a context beyond what the model was made for."""
    if longest <= setup.model.max_context:
        return ()
    return (
        f"context {longest} exceeds the {setup.model.max_context} tokens of {setup.model.name}: "
        "priced as if the same architecture went on",
    )


def sequence_warnings(setup: Setup, batch: int) -> tuple[str, ...]:
    """A warning for a batch beyond what the engine runs at once."""
    d = setup.deployment
    per_rank = -(-batch // (d.dp * d.attn_dp))
    if per_rank <= setup.num_seqs:
        return ()
    where = "" if d.dp * d.attn_dp == 1 else f" ({per_rank:,} a replica)"
    return (
        f"batch {batch:,}{where} exceeds the {setup.num_seqs:,} sequences of the engine's largest batch "
        "(--max-num-seqs): priced as one step all the same",
    )


def calibration_warnings(setup: Setup, lines: Sequence[PricedTerm]) -> tuple[str, ...]:
    """A warning for a calibration that knows no kernel of a step."""
    if setup.kernels is None or any(line.basis != "class default" for line in lines):
        return ()
    return (
        f"calibration {setup.calibration_name} prices no kernel of this step on {setup.system.device.name}: "
        "all of it is priced by documented class defaults",
    )


def attention_basis(lines: Sequence[PricedTerm]) -> Basis:
    """What the time of attention is known from; of several groups of layers, the least certain."""
    bases: tuple[Basis, ...] = get_args(Basis)
    found = {line.basis for line in lines if " attention (" in line.operator}
    return max(found, key=bases.index, default="class default")


def room_warnings(setup: Setup, refused: Sequence[tuple[int, int]], scheme: str = "") -> tuple[str, ...]:
    """Why the smallest of the points that do not fit does not, and what would.

    :param refused: pairs of batch and context
    :param scheme: what the line begins with, where an answer has several
    """
    if not refused:
        return ()
    batch, context = min(refused, key=lambda point: (point[0] * point[1], point))
    capacity = Capacity(setup, context)
    most = _largest_batch(capacity, batch)
    tail = f"; a batch of {most:,} would fit" if most else ""
    point, reason = f"{batch:,} x {context:,} tokens", fit_reason(capacity, batch, False)
    start = "" if reason.startswith(point) else f"{point}: "
    return (f"{scheme and f'{scheme}: '}does not fit: {start}{reason}{tail}",)


def copy_notes(setup: Setup) -> tuple[str, ...]:
    """A note where ranks hold copies of one cache: stored bytes are of all ranks."""
    cache = kept_cache(setup.model, setup.stack, 1.0, _SOME_TOKENS)
    one = float(sum(group.stored_bytes() for group in cache.groups))
    copies = float(stored_bytes(setup, cache)) / one if one else 1.0
    if copies <= 1.001:
        return ()
    return (f"KV GB is of all ranks, which hold {copies:.3g} times one copy of the cache",)


def _largest_batch(capacity: Capacity, batch: int) -> int:
    """The largest batch below ``batch`` that fits; 0 when none does."""
    low, high = 0, batch - 1
    while low < high:
        middle = (low + high + 1) // 2
        if bool(capacity.fits(float(middle), float(capacity.context))):
            low = middle
        else:
            high = middle - 1
    return low


def usable_bytes(capacity: Capacity) -> float:
    """Memory that the engine takes for all it keeps; a fraction of what is free after loading holds nothing back."""
    setup = capacity.setup
    held_back = setup.engine.utilization_of in ("total memory", "static fraction")
    return setup.memory_bytes * (capacity.utilization if held_back else 1.0)


def fit_reason(capacity: Capacity, users: int, fits: bool) -> str:
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
        usable = usable_bytes(capacity) / _GIB
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
    shared = float(capacity.sequence_bytes(float(context), sequences=per_rank))
    need = f"{users:,} x {context:,} tokens need {shared / _GIB:.2f} GiB each per GPU"
    return f"{need}, the pool of {pool:.2f} GiB holds {room:,.2f}{tail}"
