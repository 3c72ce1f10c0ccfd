"""Weight formats of a point: bits of one weight, and the products with compressed weights by themselves."""

from __future__ import annotations

from kvwall.validate.reproducing.point import Point, quantity

#: Names of the products with the weights of layers.
_PRODUCTS = "projection"


@quantity
def weight_bits(point: Point) -> float:
    """Stored bits of one weight of a layer, scales and indices included."""
    return float(point.setup.weights.bits("attention"))


@quantity
def products_s(point: Point) -> float:
    """Seconds of all products with the weights of layers in one step."""
    lines = [line for line in point.found.lines if _PRODUCTS in line.operator]
    return sum(float(line.charged_s) for line in lines)


@quantity
def scaled_tokens_per_s(point: Point) -> float:
    """Generated tokens per second of a decode step on part of a processor's cores (as many as ``users`` says).

    Cores bring their share of the vector units; all of them share the memory, and one alone is taken to reach it.
    """
    device = point.setup.system.device
    share = float(point.words["users"]) / device.units.count
    peak = device.vector_flops_per_s * share
    changes = [f"device.{kind}_peaks.fp32={peak} FLOP/s" for kind in ("vector", "matrix")]
    step = point.at(set=[*point.words.get("set", ()), *changes], users=None).found.step_s.mid
    return point.batch / float(step)
