"""Single kernels that systems publish: grouped adapter products, collectives, launches against the device."""

from __future__ import annotations

from kvwall.simulator.dense import dense_cache
from kvwall.simulator.estimate import Axes, estimate
from kvwall.simulator.operators.collective import Ring, all_reduce
from kvwall.simulator.prices import Prices
from kvwall.simulator.roofline import price
from kvwall.simulator.traffic import Operator, Symbols, Traffic, term
from kvwall.simulator.weights_memory import rank_weights
from kvwall.validate.quantities.time import offline_tokens_per_s, step_s
from kvwall.validate.reproducing.point import Point, quantity

#: Batches of this many prompts and more are not searched for a crossing.
_MOST_SEQUENCES = 4096.0


def _alone_s(point: Point, operator: Operator) -> float:
    setup = point.setup
    prices = Prices(setup.system, setup.calibration, ("mid",), kernels=setup.kernels)
    return float(price(Traffic((operator,)), prices).step_s)


@quantity
def adapter_projection_s(point: Point) -> float:
    """Both grouped products of one projection of ``hidden x hidden``, all sequences on adapters of their own or one.

    FLOP ``2 s r (i + o)``; bytes ``2 [s (i + o + 2 r) + N r (i + o)]`` (Punica, arXiv 2310.18547, section 4).
    """
    adapters, hidden = point.setup.adapters, float(point.setup.model.hidden_size)
    if adapters is None:
        return 0.0
    distinct = min(float(adapters.count), point.batch)
    shape: Symbols = {"s": point.batch, "N": distinct, "r": float(adapters.rank), "h": hidden}
    terms = (
        term("adapters", "hbm", "2 * N * r * 2 * h", "Punica, section 4", **shape),
        term("rows", "hbm", "2 * s * (2 * h + 2 * r)", "Punica, section 4", **shape),
        term("multiply", "matrix", "4 * s * r * h", "Punica, section 4", **shape),
    )  # fmt: skip
    return _alone_s(point, Operator("adapters", "SGMV", "gemm", terms, 2.0))


@quantity
def layer_s(point: Point) -> float:
    """One layer of a decode step: the step without head and host, over the layers."""
    outside = sum(float(line.charged_s) for line in point.found.lines if line.owner in {"head", "host"})
    return (step_s(point) - outside) / point.setup.model.layers


@quantity
def all_reduce_s(point: Point) -> float:
    """One all-reduce of ``context`` bytes over the ranks of the deployment."""
    ring = Ring(point.setup.deployment.tp, "scale up", switch_sums=point.setup.system.device.sums_in_switch)
    return _alone_s(point, all_reduce("all-reduce", 1, 1.0, point.context / 2.0, ring, 1.0))


@quantity
def one_shot_all_reduce_s(point: Point) -> float:
    """The same where every rank writes its bytes to all others, waits for theirs and adds up: ``(n - 1) S``, one hop.

    Calls follow one another in a graph, so each starts a kernel. MSCCL++, arXiv 2504.09014, section 5: all pairs in one
    phase, for small messages.
    """
    equation = "(n - 1) * S"
    sent = term("write to all", "scale up", equation, "arXiv 2504.09014", n=point.setup.deployment.tp, S=point.context)
    wait = term("wait for one message", "hops", "h", "arXiv 2504.09014", compulsory=False, h=1.0)
    alone = _alone_s(point, Operator("network", "one-shot all-reduce", "collective", (sent, wait), 1))
    return alone + point.setup.system.device.launch.graph_s


@quantity
def all_reduce_bus_bytes_per_s(point: Point) -> float:
    """Bus bandwidth of that all-reduce as nccl-tests prints it: ``2 (n - 1) / n S / t``."""
    ranks = point.setup.deployment.tp
    return 2.0 * (ranks - 1) / ranks * point.context / all_reduce_s(point)


def _waits_for_launches(point: Point, batch: float) -> bool:
    found = estimate(point.setup, Axes(batch, point.context, "prefill"))
    return any(line.operator == "launches" and float(line.charged_s) > 0 for line in found.lines)


@quantity
def adapters_added_s(point: Point) -> float:
    """What adapters add to a step."""
    return step_s(point) - step_s(point.at(lora=None))


@quantity
def ladder_gain(point: Point) -> float:
    """Gain in tokens per second over the same model with its all-reduces in line."""
    return offline_tokens_per_s(point) / offline_tokens_per_s(point.at(scheme="none")) - 1.0


@quantity
def stage_tables_bytes(point: Point) -> float:
    """Embedding and LM head on the fullest stage: what of it is not layers."""
    setup = point.setup
    run = setup.stack.rewrite(dense_cache(setup.model, 1.0, 1.0)).execution
    return rank_weights(setup.model, setup.weights, setup.deployment, 0.0, run.split_vocabulary).ends_bytes
