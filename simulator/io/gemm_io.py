"""Traffic of matrix products between two levels of memory: the tight lower bound and the count of blocked loops."""

from __future__ import annotations

import numpy as np

from kvwall.simulator.io.arrays import floats
from kvwall.simulator.traffic import Array, Numeric


def gemm_compulsory_elements(m: Numeric, n: Numeric, k: Numeric) -> Array:
    """Inputs read once and outputs written once: ``m k + k n + m n`` elements."""
    m, n, k = (floats(v) for v in (m, n, k))
    return m * k + k * n + m * n


def gemm_bound_elements(m: Numeric, n: Numeric, k: Numeric, capacity: Numeric) -> Array:
    """Elements that any ordinary product of ``m x k`` and ``k x n`` moves.

    ``max(2 m n k / sqrt(M) - 2 M, m k + k n + m n)``. Smith, Lowery, Langou and van de Geijn 2019 (arXiv 1702.02017):
    in a segment of ``2 M`` reads three times ``M`` elements are reachable, and by Loomis and Whitney ``M^1.5`` products
    formed. They count reads of ``C += A B``; a product that starts from nothing saves at most ``m n`` reads of zeros
    and pays as many writes, so the same figure bounds its reads and writes together. The constant 2 is tight.

    :param capacity: elements ``M`` of the fast level, registers included
    """
    size = floats(capacity)
    products = floats(m) * n * k
    return np.maximum(2 * products / np.sqrt(size) - 2 * size, gemm_compulsory_elements(m, n, k))


def blocked_gemm_elements(m: Numeric, n: Numeric, k: Numeric, tile_m: Numeric, tile_n: Numeric) -> Array:
    """Elements that a product blocked over its outputs moves: each block of C stays while k runs by.

    ``ceil(n / tn) m k + ceil(m / tm) k n + m n``. Goto and van de Geijn 2008, section 4.
    """
    m, n, k = (floats(v) for v in (m, n, k))
    return floats(np.ceil(n / tile_n) * m * k + np.ceil(m / tile_m) * k * n + m * n)


def largest_square_tile(capacity: Numeric) -> Array:
    """Side of the largest square block of C that fits with one column of A and one row of B: ``t^2 + 2 t <= M``."""
    return floats(np.maximum(1.0, np.floor(np.sqrt(floats(capacity) + 1) - 1)))


def gemm_bytes(
    m: Numeric, n: Numeric, k: Numeric, weight_bytes: Numeric, input_bytes: Numeric = 2.0, output_bytes: Numeric = 2.0
) -> Array:
    """Compulsory bytes of ``y[m, n] = x[m, k] W[k, n]``: ``e_w k n + e_a m k + e_o m n``.

    :param weight_bytes: bytes of one weight, metadata included
    """
    m, n, k = (floats(v) for v in (m, n, k))
    return floats(weight_bytes) * k * n + floats(input_bytes) * m * k + floats(output_bytes) * m * n


def ridge_rows(weight_bytes: Numeric, peak_flops_per_s: Numeric, bandwidth_bytes_per_s: Numeric) -> Array:
    """Rows ``m`` from which a product with a large weight is bound by arithmetic: ``e_w peak / (2 bandwidth)``.

    Williams, Waterman and Patterson 2009 (roofline), where weights dominate the bytes.
    """
    return floats(weight_bytes) * peak_flops_per_s / (2 * floats(bandwidth_bytes_per_s))


def gemm_tiles(m: Numeric, n: Numeric, tile_m: Numeric, tile_n: Numeric) -> Array:
    """Thread blocks of a product: ``ceil(m / tm) ceil(n / tn)``."""
    return np.ceil(floats(m) / tile_m) * np.ceil(floats(n) / tile_n)
