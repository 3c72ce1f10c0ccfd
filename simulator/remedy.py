"""The smallest change that turns "does not fit" into "fits"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kvwall.hardware.errors import KvwallError
from kvwall.hardware.system import System
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.deployment import allowed_tp, make_deployment
from kvwall.simulator.setup import Setup
from kvwall.simulator.stack import parse_stack
from kvwall.workloads.weight_format import WEIGHTS

#: Cache formats to try on a setup that has none, by what they cost in quality.
_SCHEMES = ("fp8", "int4", "kivi:bits=2")
#: Weight formats to try, wide to narrow.
_WEIGHTS = ("fp8", "int4-g128")


def smallest_change(capacity: Capacity, users: int) -> str | None:
    """What to change, as the option to give; ``None`` when nothing that was tried helps.

    Tried in the order of what it costs the user: a shorter context, another cache format, another weight format, more
    devices.
    """
    setup, context = capacity.setup, capacity.context
    shorter = _longest_context(capacity, users)
    if shorter >= max(1024, context // 2):
        return f"--context {shorter} would fit"
    for text, changed in _variants(setup):
        if bool(Capacity(changed, context).fits(float(users), float(context))):
            return f"{text} would fit"
    return f"--context {shorter} would fit" if shorter >= setup.block else None


def _longest_context(capacity: Capacity, users: int) -> int:
    """The longest context, in whole blocks, of which ``users`` sequences fit; 0 when none does."""
    low, high = 0, capacity.context // capacity.setup.block
    while low < high:
        middle = (low + high + 1) // 2
        if bool(capacity.fits(float(users), float(middle * capacity.setup.block))):
            low = middle
        else:
            high = middle - 1
    return low * capacity.setup.block


def _variants(setup: Setup) -> Iterator[tuple[str, Setup]]:
    """Changed setups with the option that changes them; what cannot exist is left out."""
    if not setup.stack.schemes:
        for scheme in _SCHEMES:
            stack = parse_stack(scheme)
            try:
                stack.check(setup.architecture)
            except KvwallError:
                continue
            yield f"--scheme {scheme}", replace(setup, stack=stack)
    for name in _WEIGHTS:
        form = WEIGHTS.load(name)
        if form.bits_per_weight < setup.weights.bits_per_weight:
            yield f"--weights {name}", replace(setup, weights_name=name, weights=form)
    yield from _more_devices(setup)


def _more_devices(setup: Setup) -> Iterator[tuple[str, Setup]]:
    system = setup.system
    for factor in (2, 4, 8, 16):
        count = system.count * factor
        nodes = -(-count // system.node.devices_per_node)
        bigger = System(system.device_id, system.device, count, nodes, system.node)
        tp = setup.deployment.tp * factor
        if tp not in allowed_tp(setup.model, tp) or count % nodes:
            continue
        d = setup.deployment
        deployment = make_deployment(setup.model, bigger, tp=tp, pp=d.pp, dp=d.dp, ep=d.ep, attn_dp=d.attn_dp)
        yield f"--on {system.device_id}:{count} --tp {tp}", replace(setup, system=bigger, deployment=deployment)
