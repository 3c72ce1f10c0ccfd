"""The memory that one rank gives to the cache, with its band."""

from __future__ import annotations

from math import sqrt

from kvwall.hardware.engine import Engine
from kvwall.simulator.reserve import ByteBand, Component, Reserve, StartUp


def loaded_weights(
    engine: Engine, arithmetic_bytes: float, loaded_over_arithmetic: float = 1.0, loaded_high: float | None = None
) -> ByteBand:
    """What the weights of one rank occupy once loaded.

    :param arithmetic_bytes: parameters x bits of the format
    :param loaded_over_arithmetic: the format's own excess, seen in engines' logs (1 where none was seen)
    :param loaded_high: the largest excess seen, where logs differ

    The low end is the arithmetic itself: some builds of a format load without its excess.
    """
    excess = engine.reserve.weights_excess_fraction
    return ByteBand(
        arithmetic_bytes * (1 + excess.low),
        arithmetic_bytes * loaded_over_arithmetic * (1 + excess.mid),
        arithmetic_bytes * (loaded_high or loaded_over_arithmetic) * (1 + excess.high),
    )


def kv_pool(engine: Engine, start: StartUp, utilization: float, weights: ByteBand, reserve: Reserve) -> ByteBand:
    """The cache pool of one rank in bytes; negative where the engine would refuse to start.

    :param utilization: the engine's memory fraction
    :param weights: loaded weights of the rank; three equal values when the engine's log printed them

    The middle is the engine's own arithmetic (:meth:`Engine.kv_pool_bytes`) on the middles. Each uncertain amount is
    moved to its ends alone, and the differences add in quadrature, because the amounts have unrelated causes.
    """

    def pool(weights_bytes: float, moved: Component | None = None, amount: float = 0.0) -> float:
        at = {"driver": 0.0, "before load": 0.0, "after load": 0.0}
        for part in reserve.components:
            at[part.stage] += amount if part is moved else part.bytes.mid
        visible = start.memory_bytes - at["driver"]
        return float(engine.kv_pool_bytes(visible, utilization, weights_bytes, at["before load"], at["after load"]))

    mid = pool(weights.mid)
    below = [mid - pool(weights.high)] + [mid - pool(weights.mid, part, part.bytes.high) for part in reserve.components]
    above = [pool(weights.low) - mid] + [pool(weights.mid, part, part.bytes.low) - mid for part in reserve.components]
    return ByteBand(mid - sqrt(sum(x * x for x in below)), mid, mid + sqrt(sum(x * x for x in above)))
