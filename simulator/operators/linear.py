"""Matrix products with weights: attention projections, feed-forward networks, experts, LM head."""

from __future__ import annotations

from dataclasses import dataclass

from kvwall.hardware.dtype import Dtype
from kvwall.simulator.kernel_time.call import KernelCall
from kvwall.simulator.kernel_time.points import Points
from kvwall.simulator.linears import Linear
from kvwall.simulator.traffic import Numeric, Operator, Symbols, Term, term
from kvwall.workloads.weight_format import TensorClass, WeightFormat

_REFERENCE = "roofline of a dense product, Williams et al. 2009, doi 10.1145/1498765.1498785"
_TOUCHED = "experts touched: k + b (E (1 - (1 - k/E)^T) - k), b = 1 for independent routing"


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """A number format of weights on a kind of device.

    :ivar weights: the format
    :ivar has_unit: the device multiplies the format's ``compute_dtype`` natively
    """

    weights: WeightFormat
    has_unit: bool

    def bits(self, tensor: TensorClass) -> float:
        """Stored bits per weight."""
        return self.weights.bits(tensor)

    def compressed(self, tensor: TensorClass) -> bool:
        """Whether a tensor is stored in fewer than 16 bits."""
        return self.bits(tensor) < 16

    def dtype(self, tensor: TensorClass) -> Dtype:
        """Dtype of the product; a tensor kept in 16 bits is multiplied in 16 bits."""
        if self.compressed(tensor) or self.weights.compute_dtype in {"fp16", "fp32", "tf32"}:
            return self.weights.product_dtype(self.has_unit)
        return "bf16"

    def kernel_dtype(self, tensor: TensorClass) -> str | None:
        """The product's format as kernel tables spell it; ``None`` where weights are unpacked on the way."""
        dtype = self.dtype(tensor)
        if not self.compressed(tensor):
            return dtype
        if dtype != "fp8" or self.weights.unpack_ops(self.has_unit):
            return None
        return "fp8_block" if self.weights.group_size else "fp8"


def product(
    linear: Linear,
    tokens: Numeric,
    arithmetic: Arithmetic,
    ranks: Numeric,
    passes: Numeric = 1.0,
    experts: Numeric | None = None,
) -> Operator:
    """One weight matrix times the activations of ``tokens`` tokens, in all its layers.

    :param linear: the matrix as one rank holds it
    :param tokens: tokens that visit it on this rank
    :param arithmetic: number format of the weights on this device
    :param ranks: ranks of the deployment that pay this operator
    :param passes: passes of the engine, each of which reads the matrix again
    :param experts: routed experts that one pass reads per layer; ``None`` for a matrix that every token visits
    """
    read = passes if experts is None else passes * experts
    bits, dtype = arithmetic.bits(linear.tensor), arithmetic.dtype(linear.tensor)
    shape: Symbols = {"L": linear.layers, "i": linear.inputs, "o": linear.outputs}
    terms: list[Term] = [
        term("read weights", "hbm", "L * i * o * b / 8 * E", _TOUCHED if linear.experts else _REFERENCE,
             tally="weights", b=bits, E=read, **shape),
        term("move activations", "hbm", "2 * L * (i + o) * T", _REFERENCE, compulsory=False, T=tokens, **shape),
    ]  # fmt: skip
    if arithmetic.weights.lookup_ops and arithmetic.compressed(linear.tensor):
        terms += _look_ups(arithmetic, shape, tokens)
    else:
        terms.append(term("multiply", "matrix", "2 * L * i * o * T", _REFERENCE, dtype=dtype, T=tokens, **shape))
    ops = arithmetic.weights.unpack_ops(arithmetic.has_unit) if arithmetic.compressed(linear.tensor) else 0.0
    if ops:
        unpack = term(
            "unpack weights", "vector", "u * L * i * o * E", arithmetic.weights.source, compulsory=False,
            spread=(0.5, 1.5), u=ops, E=read, **shape,
        )  # fmt: skip
        terms.append(unpack)
    return Operator(
        linear.owner,
        linear.name,
        "experts" if linear.experts else "gemm",
        tuple(terms),
        linear.layers * passes,
        ranks=ranks,
        call=_call(linear, tokens, arithmetic, passes),
    )


def _look_ups(arithmetic: Arithmetic, shape: Symbols, tokens: Numeric) -> list[Term]:
    """A product by tables: each group of four inputs has its eight partial sums, made once a token and looked up.

    Look-ups are the inner loop of the product and hold the pipes that its multiply-adds would, so they are counted
    where these are, in fp32 FLOP of as many instructions.
    """
    return [
        term("look up partial sums", "matrix", "q * L * i * o * T", arithmetic.weights.source, dtype="fp32",
             q=arithmetic.weights.lookup_ops, T=tokens, **shape),
        term("make tables", "vector", "2 * 8 / 4 * L * i * T", arithmetic.weights.source, compulsory=False,
             L=shape["L"], i=shape["i"], T=tokens),
    ]  # fmt: skip


def _call(linear: Linear, tokens: Numeric, arithmetic: Arithmetic, passes: Numeric) -> KernelCall | None:
    """The product as a kernel; grouped products of experts and unpacked weights have no kernel model."""
    dtype = arithmetic.kernel_dtype(linear.tensor)
    if linear.experts or dtype is None:
        return None
    points = Points(m=tokens / passes, n=linear.outputs, k=linear.inputs)
    return KernelCall("gemm", dtype, dtype, points, linear.layers * passes)


def touched_experts(experts: float, per_token: float, tokens: Numeric, breadth: float = 1.0) -> Numeric:
    """Distinct experts that ``tokens`` tokens visit: ``k + b (E (1 - (1 - k/E)^T) - k)``.

    With a breadth ``b`` of 1 routing is independent and uniform; tokens of alike prompts share experts, ``b < 1``.
    """
    independent = experts * (1.0 - (1.0 - per_token / experts) ** tokens)
    return independent if breadth == 1.0 else per_token + breadth * (independent - per_token)
