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
