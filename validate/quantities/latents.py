"""What the papers of latent attention and of the machines around it report: exchanges, training work, kernel rates."""

from __future__ import annotations

from kvwall.simulator.estimate import Axes, estimate
from kvwall.validate.quantities.time import prefill_flops
from kvwall.validate.reproducing.point import Point, quantity
from kvwall.workloads.model_spec import ExpertFeedForward

#: Bytes of one element sent to an expert (8 bits) and back (16 bits).
_DISPATCH, _COMBINE = 1.0, 2.0
#: Forward and backward passes of training, in forward ones.
_TRAINING = 3.0


@quantity
def expert_exchange_s(point: Point) -> float:
    """Rows of a step's tokens to their experts (shared ones too) and back, over the slower link, at its bandwidth.

    ``(1 + 2) B (k + shared) D / bandwidth``, as the authors count it: every row leaves the device.
    """
    model, system = point.setup.model, point.setup.system
    group = next(g for g in model.feed_forward if isinstance(g, ExpertFeedForward))
    visits = group.experts_per_token + group.shared_intermediate_size / group.intermediate_size
    link = system.device.scale_out or system.node.network
    return (_DISPATCH + _COMBINE) * point.batch * visits * model.hidden_size / link.bandwidth_bytes_per_s


@quantity
def exchange_bound_step_s(point: Point) -> float:
    """A step of two overlapped halves of the batch that waits for nothing but their exchanges, in every layer."""
    return 2.0 * expert_exchange_s(point) * point.setup.model.layers


@quantity
def exchange_bound_tokens_per_s(point: Point) -> float:
    """Tokens a second of one sequence under that bound."""
    return 1.0 / exchange_bound_step_s(point)


@quantity
def training_flops_per_token(point: Point) -> float:
    """Forward and backward products of one token of a sequence, causal attention included."""
    return _TRAINING * prefill_flops(point) / point.context / point.batch


@quantity
def tokens_per_step(point: Point) -> float:
    """Tokens that one step of a sequence yields with a draft."""
    return float(point.found.tokens) / point.batch


@quantity
def latent_kernel_s(point: Point) -> float:
    """Decode attention over latents in one layer."""
    return _kernel_s(point) / point.setup.model.layers


@quantity
def latent_kernel_bytes_per_s(point: Point) -> float:
    """Bytes of the cache that this kernel reads a second."""
    return float(point.found.kv_read_bytes) / _kernel_s(point)


@quantity
def latent_kernel_flops_per_s(point: Point) -> float:
    """Products of this kernel a second."""
    found = estimate(point.setup, Axes(point.batch, point.context, query_tokens=point.words["query_tokens"]))
    flops = sum(float(x.term.amount) for x in found.lines if x.term.name == "scores and weighted sum")
    return flops / _kernel_s(point)


def _kernel_s(point: Point) -> float:
    chosen = (line for line in point.found.lines if line.operator == "decode attention (mla)")
    return sum(float(line.charged_s) for line in chosen)
