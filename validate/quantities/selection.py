"""What choosing tokens takes, and generations counted in equivalent FLOP."""

from __future__ import annotations

from kvwall.simulator.eflops import dense, widths
from kvwall.validate.quantities.time import attention_flops, ideal_attention_s, offline_tokens_per_s
from kvwall.validate.reproducing.point import Point, quantity


@quantity
def top_k_s(point: Point) -> float:
    """The top-k over page scores in one layer that chooses: of the two launches of a choice the other one scores."""
    lines = [line for line in point.found.lines if line.operator == "choose pages"]
    layers = next(float(line.term.symbols["L"]) for line in lines if "L" in line.term.symbols)
    launches = sum(float(line.charged_s) for line in lines if "launch" in line.term.name)
    return (sum(float(line.charged_s) for line in lines) - launches / 2) / layers


@quantity
def continuous_tokens_per_s(point: Point) -> float:
    """Generated tokens over prefill and decode; ``batch: max`` is what fits in the middle of an answer.

    An engine that admits a sequence as others leave runs sequences of all ages, on the mean half way.
    """
    if point.words["batch"] == "max":
        half = float(point.words["input"]) + float(point.words["output"]) / 2
        point = point.at(batch=point.at(context=half, input=None, output=None).batch)
    return offline_tokens_per_s(point)


@quantity
def attention_flops_per_s(point: Point) -> float:
    """FLOP of attention over its seconds at the data sheet's bound, in one step."""
    return attention_flops(point) / ideal_attention_s(point)


@quantity
def generation_eflops(point: Point) -> float:
    """Equivalent FLOP of one answer of ``output`` tokens after ``input`` of them."""
    model = widths(point.setup.architecture)
    return float(dense(model, float(point.words["input"]), float(point.words["output"])).total)


@quantity
def generation_linear_flops(point: Point) -> float:
    """FLOP of that answer that grow with its length alone: two for each parameter and token."""
    return 2.0 * widths(point.setup.architecture).parameters * float(point.words["output"])
