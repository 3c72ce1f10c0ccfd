"""Everything of a step that is not attention: projections, feed-forward networks, norms, embedding, LM head, host."""

from __future__ import annotations

from kvwall.simulator.linears import Linear
from kvwall.simulator.operators.linear import Arithmetic, product, touched_experts
from kvwall.simulator.traffic import Numeric, Operator, term
from kvwall.workloads.model_spec import ExpertFeedForward, FeedForwardGroup

_VASWANI = "Vaswani et al. 2017, arXiv 1706.03762, section 3"
#: A figure at the low end, the middle and the high end of its band.
Ends = tuple[float, float, float]

_HOST = "host time per step and per sequence of the engine profile"


def feed_forward_operators(
    group: FeedForwardGroup,
    linears: tuple[Linear, ...],
    tokens: Numeric,
    arithmetic: Arithmetic,
    ranks: Numeric,
    ep: int,
    passes: Numeric = 1.0,
    breadth: float = 1.0,
) -> list[Operator]:
    """The feed-forward network of one group of layers, with the experts that ``tokens`` tokens really touch.

    Routed tokens spread evenly over experts and ranks (no imbalance).

    :param breadth: experts touched beyond those of one token, over those of independent routing
    """
    if not isinstance(group, ExpertFeedForward):
        return [product(linear, tokens, arithmetic, ranks, passes) for linear in linears]
    touched = touched_experts(group.experts, group.experts_per_token, tokens / passes, breadth) / ep
    visits = tokens * group.experts_per_token / ep
    operators = []
    for linear in linears:
        if linear.experts:
            operators.append(product(linear, visits, arithmetic, ranks, passes, touched))
        else:
            operators.append(product(linear, tokens, arithmetic, ranks, passes))
    return operators


def elementwise(name: str, layers: float, tokens: Numeric, row_elements: float, ranks: Numeric) -> Operator:
    """What moves rows between the products (norm, rotation, activation, residual) in ``layers`` layers.

    ``row_elements`` of 16 bits move per token.

    A fused kernel, or an L2 that keeps a small batch's rows, avoids this traffic, so none of it is compulsory.
    """
    moved = term(
        "move activations", "hbm", "2 * L * w * T", _VASWANI, compulsory=False, L=layers, w=row_elements, T=tokens
    )
    return Operator("elementwise", name, "elementwise", (moved,), 4 * layers, ranks=ranks)


def embed(tokens: Numeric, hidden: int, bits: float, ranks: Numeric) -> Operator:
    """Look up one row of the embedding per token."""
    rows = term("read rows", "hbm", "D * b / 8 * T", _VASWANI, compulsory=False, D=hidden, b=bits, T=tokens)
    return Operator("head", "embedding", "elementwise", (rows,), 1, ranks=ranks)


def sample(sequences: Numeric, vocabulary: float, ranks: Numeric) -> Operator:
    """Softmax and choice over fp32 logits: written once, read twice."""
    logits = term(
        "move logits", "hbm", "12 * V * B", "fp32 logits, written once and read twice (estimate)", compulsory=False,
        V=vocabulary, B=sequences,
    )  # fmt: skip
    return Operator("head", "sampling", "elementwise", (logits,), 4, ranks=ranks)


def host_work(per_step_s: Ends, per_sequence_s: Ends, sequences: Numeric, source: str) -> Operator:
    """What the serving engine does on the host in each step while the device waits; times at low, middle and high."""
    why = f"{_HOST}: {source}"
    terms = (
        term("schedule the step", "host", "h", why, compulsory=False, spread=_spread(per_step_s), h=per_step_s[1]),
        term("sample, detokenise", "host", "s * B", why, compulsory=False, spread=_spread(per_sequence_s),
             s=per_sequence_s[1], B=sequences),
    )  # fmt: skip
    return Operator("host", "engine on the host", "host", terms, 0)


def _spread(ends: Ends) -> tuple[float, float]:
    low, mid, high = ends
    return (low / mid, high / mid) if mid else (1.0, 1.0)
