"""Matrix products with weights: attention projections, feed-forward networks, experts, LM head."""

from __future__ import annotations

from kvwall.hardware.device import Dtype
from kvwall.simulator.linears import Linear
from kvwall.simulator.traffic import Numeric, Operator, Term, term
from kvwall.workloads.weight_format import WeightFormat

_REFERENCE = "roofline of a dense product, Williams et al. 2009, doi 10.1145/1498765.1498785"
_TOUCHED = "expected distinct experts under independent routing: E (1 - (1 - k/E)^T)"


def product(
    linear: Linear,
    tokens: Numeric,
    weights: WeightFormat,
    ranks: Numeric,
    passes: Numeric = 1.0,
    experts: Numeric | None = None,
) -> Operator:
    """One weight matrix times the activations of ``tokens`` tokens, in all its layers.

    :param linear: the matrix as one rank holds it
    :param tokens: tokens that visit it on this rank
    :param weights: number format of the weights
    :param ranks: ranks of the deployment that pay this operator
    :param passes: passes of the engine, each of which reads the matrix again
    :param experts: routed experts that one pass reads per layer; ``None`` for a matrix that every token visits
    """
    read = passes if experts is None else passes * experts
    bits = weights.bits(linear.tensor)
    compressed = linear.tensor not in weights.sixteen_bit and bits < 16
    dtype: Dtype = weights.compute_dtype if compressed or weights.compute_dtype in {"fp16", "fp32"} else "bf16"
    shape: dict[str, Numeric] = {"L": linear.layers, "i": linear.inputs, "o": linear.outputs}
    terms: list[Term] = [
        term("read weights", "hbm", "L * i * o * b / 8 * E", _TOUCHED if linear.experts else _REFERENCE,
             tally="weights", b=bits, E=read, **shape),
        term("move activations", "hbm", "2 * L * (i + o) * T", _REFERENCE, compulsory=False, T=tokens, **shape),
        term("multiply", "matrix", "2 * L * i * o * T", _REFERENCE, dtype=dtype, T=tokens, **shape),
    ]  # fmt: skip
    if compressed and weights.unpack_ops_per_weight:
        unpack = term(
            "unpack weights", "vector", "2 * u * L * i * o * E", weights.source, compulsory=False,
            spread=(0.5, 1.5), u=weights.unpack_ops_per_weight, E=read, **shape,
        )  # fmt: skip
        terms.append(unpack)
    elif compressed and dtype in {"fp8", "int8", "fp4"}:
        convert = term(
            "convert weights", "vector", "4 * L * i * o * E", weights.source, compulsory=False,
            spread=(0.5, 1.5), unless_native=dtype, E=read, **shape,
        )  # fmt: skip
        terms.append(convert)
    return Operator(linear.owner, linear.name, "gemm", tuple(terms), linear.layers * passes, ranks=ranks)


def touched_experts(experts: float, per_token: float, tokens: Numeric) -> Numeric:
    """Distinct experts that ``tokens`` tokens visit under independent uniform routing: ``E (1 - (1 - k/E)^T)``."""
    return experts * (1.0 - (1.0 - per_token / experts) ** tokens)
