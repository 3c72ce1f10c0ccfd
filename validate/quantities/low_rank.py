"""What papers of low-rank and rematerialised caches report beside bytes: break-evens, parts of a layer, activations."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from kvwall.simulator.dense import dense_cache
from kvwall.simulator.estimate import Axes, Estimate, estimate
from kvwall.simulator.reserve import rank_shape
from kvwall.simulator.roofline import PricedTerm
from kvwall.validate.quantities.time import attention_layer_s
from kvwall.validate.reproducing.point import Point, quantity
from kvwall.workloads.model_spec import DenseFeedForward

#: Two lengths between which work and bytes of a step are straight lines.
_NEAR, _FAR = 1024.0, 65536.0


@quantity
def compute_bound_tokens(point: Point) -> float:
    """Cached tokens at which a step's products take as long as its bytes, at the data sheet's peaks.

    Both are straight lines in the tokens of a batch of one: ``F0 + F1 n`` over the matrix peak, ``W + s n`` over the
    bandwidth.
    """
    device = point.setup.system.device
    balance = device.matrix_flops_per_s("bf16") / device.hbm.bandwidth_bytes_per_s

    def work(tokens: float) -> tuple[float, float]:
        found = estimate(point.setup, Axes(1.0, tokens))
        flops = sum(float(line.term.amount) for line in found.lines if line.term.resource == "matrix")
        return flops, float(found.weights_read_bytes + found.kv_read_bytes)

    (f0, b0), (f1, b1) = work(_NEAR), work(_FAR)
    flops_each, bytes_each = (f1 - f0) / (_FAR - _NEAR), (b1 - b0) / (_FAR - _NEAR)
    return _NEAR + (balance * b0 - f0) / (flops_each - balance * bytes_each)


@quantity
def dense_cache_rate_tokens_per_s(point: Point) -> float:
    """Tokens of an infinite batch whose steps read nothing but a dense cache, at the data sheet's bandwidth."""
    dense = float(dense_cache(point.setup.architecture, 1.0, point.context).stored_bytes())
    return point.setup.system.device.hbm.bandwidth_bytes_per_s / dense


@quantity
def equivalent_bandwidth_bytes_per_s(point: Point) -> float:
    """Bytes of the dense cache over the time in which a step moves what it needs, memory and link in turn."""
    dense = float(dense_cache(point.setup.architecture, 1.0, point.context).stored_bytes()) * point.batch
    device, found = point.setup.system.device, point.found
    link = device.host_link.bandwidth_bytes_per_s if device.host_link else device.hbm.bandwidth_bytes_per_s
    own = float(found.kv_read_bytes) / device.hbm.bandwidth_bytes_per_s + _amount(found, "host link in") / link
    return dense / own


@quantity
def kv_hbm_bytes(point: Point) -> float:
    """Cache of one sequence in device memory, without workspace."""
    cache = point.setup.stack.rewrite(dense_cache(point.setup.model, 1.0, point.context))
    return float(cache.stored_bytes("hbm"))


@quantity
def score_chunks_layer_s(point: Point) -> float:
    """Products with landmarks, their softmax and what they read, one layer."""
    return _alone(point.found.lines, ("score landmarks", "move landmark scores", "read landmark (chunks)"), point)


@quantity
def fetch_values_layer_s(point: Point) -> float:
    """Values over the host link, one layer."""
    return _alone(point.found.lines, ("load value",), point)


@quantity
def rebuild_keys_layer_s(point: Point) -> float:
    """Gather of the factor's rows, product and rotation, one layer, before it hides under the fetch of values."""
    names = ("rebuild keys", "rotate rebuilt keys", "write rebuilt keys", "gather rows again", "read latent")
    return _alone(point.found.lines, names, point)


@quantity
def chosen_attention_layer_s(point: Point) -> float:
    """Attention over the buffers, one layer: the dense kernel over as many tokens of a plain cache."""
    cache = point.setup.stack.rewrite(dense_cache(point.setup.model, point.batch, point.context))
    return attention_layer_s(point.at(scheme="none", context=float(cache.groups[0].attended)))


@quantity
def decompose_layer_s(point: Point) -> float:
    """SVD of the keys of a prompt, one layer."""
    found = estimate(point.setup, Axes(point.batch, point.context, "prefill"))
    return sum(float(line.charged_s) for line in found.lines if line.operator == "SVD of the keys") / _layers(point)


@quantity
def feed_forward_layer_s(point: Point) -> float:
    """The feed-forward network of one layer with its norm, activation and residual, in the phase of the point."""
    chosen = (
        line
        for line in point.found.lines
        if line.owner == "feed-forward" or line.operator == "norm, activation, residual"
    )
    return sum(float(line.charged_s) for line in chosen) / _layers(point)


@quantity
def qkv_layer_s(point: Point) -> float:
    """Projections of queries, keys and values with the norm before and the rotation after them, one layer."""
    names = ("QKV projection", "norm, rotation, residual")
    chosen = (line for line in point.found.lines if line.operator in names)
    return sum(float(line.charged_s) for line in chosen) / _layers(point)


@quantity
def prefill_attention_layer_s(point: Point) -> float:
    """Attention of a prompt, one layer."""
    chosen = (line for line in point.found.lines if line.operator.startswith("prefill attention"))
    return sum(float(line.charged_s) for line in chosen) / _layers(point)


@quantity
def transient_elements(point: Point) -> float:
    """Elements per token of the widest layer that a pass keeps at once, beside the residual stream."""
    return rank_shape(point.setup.model, 1).widest_layer


@quantity
def feed_forward_transient_elements(point: Point) -> float:
    """Elements per token that the feed-forward network writes between products: a hidden row, or an output row."""
    forward = next(g for g in point.setup.model.feed_forward if isinstance(g, DenseFeedForward))
    factored = point.setup.model.factored
    streamed = factored is not None and factored.streamed
    return float(point.setup.model.hidden_size if streamed else forward.intermediate_size)


def _layers(point: Point) -> float:
    return float(point.setup.model.layers)


def _alone(lines: Iterable[PricedTerm], names: tuple[str, ...], point: Point) -> float:
    """Seconds of terms that follow one another, each at what its kernel reaches of its resource, over the layers."""
    return sum(float(np.asarray(line.alone_s)) for line in lines if line.term.name in names) / _layers(point)


def _amount(found: Estimate, resource: str) -> float:
    return sum(float(line.term.amount) for line in found.lines if line.term.resource == resource)
