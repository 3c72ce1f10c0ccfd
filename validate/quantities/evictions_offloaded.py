"""H2O inside FlexGen: by its equations where its rates are fitted, and with its waits where nothing is away."""

from __future__ import annotations

from dataclasses import replace

from kvwall.hardware.errors import InputError
from kvwall.simulator.cost_models.flexgen import Policy, Shape, layer_generation_s, layer_prefill_s
from kvwall.simulator.schemes.flexgen import FlexGen
from kvwall.validate.quantities.time import decode_s, prefill_s
from kvwall.validate.reproducing.point import Point, quantity

#: Ten launches of half a layer at 6 us of the host each.
_HALF_LAYER_S = 60e-6


@quantity
def evicted_flexgen_tokens_per_s(point: Point) -> float:
    """``batch n / (T_pre l + T_gen (n - 1) l)``, where a step attends to what an eviction leaves of the cache.

    A prompt is computed and stored whole before it is cut.
    """
    scheme = next((scheme for scheme in point.setup.stack.schemes if isinstance(scheme, FlexGen)), None)
    rates, model = point.setup.system.node.offload_rates, point.setup.model
    if scheme is None or rates is None:
        raise InputError(f"scheme {point.setup.stack.text}: needs flexgen, on a system with offload_rates")
    prompt, output = int(point.words["input"]), int(point.words["output"])
    shape = Shape(model.layers, model.hidden_size, model.feed_forward[0].intermediate_size, prompt, output)
    (wh, wd), (ch, cd), (hh, hd) = (scheme.away(what) for what in "wch")
    policy = Policy(
        (1 - wh - wd, wh, wd), (1 - ch - cd, ch, cd), (1 - hh - hd, hh, hd),
        int(point.batch) // scheme.blocks, scheme.blocks,
    )  # fmt: skip
    attending = replace(shape, prompt=int(_attended(point, prompt, output)), output=0)
    steps = (output - 1) * layer_generation_s(attending, policy, rates)
    return policy.batch * output / (model.layers * (layer_prefill_s(shape, policy, rates) + steps))


@quantity
def waiting_decode_s(point: Point) -> float:
    """All decode steps of a loop that waits for the device after every half layer, as FlexGen's does.

    The launches of a half layer then hide under nothing.
    """
    return decode_s(point) + float(point.words["output"]) * 2 * point.setup.model.layers * _HALF_LAYER_S


@quantity
def waiting_decode_tokens_per_s(point: Point) -> float:
    """Generated tokens per second of that loop."""
    return point.batch * float(point.words["output"]) / waiting_decode_s(point)


@quantity
def waiting_tokens_per_s(point: Point) -> float:
    """The same with the prefill, whose launches are few beside its products."""
    return point.batch * float(point.words["output"]) / (waiting_decode_s(point) + prefill_s(point))


def _attended(point: Point, prompt: int, output: int) -> float:
    """Tokens that the middle step of the answer attends to, wherever they lie."""
    context = prompt + output / 2
    middle = point.at(context=context, generated=output / 2, input=None, output=None)
    return context * float(middle.found.kv_stored_bytes) / float(middle.at(scheme="none").found.kv_stored_bytes)
