"""One step of a transformer: from a rewritten cache to the operators that one rank pays, in order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kvwall.simulator.cache import Cache
from kvwall.simulator.deployment import Deployment
from kvwall.simulator.execution import Execution
from kvwall.simulator.linears import attention_linears, feed_forward_linears, head_linear
from kvwall.simulator.operators.attention import attention_operators
from kvwall.simulator.operators.collective import SOFTMAX_ELEMENTS, Link, Ring, all_reduce, all_to_all, send_receive
from kvwall.simulator.operators.execution import beside, loaded_weights, swapped_experts
from kvwall.simulator.operators.forward import elementwise, embed, feed_forward_operators, sample
from kvwall.simulator.operators.fused import shard
from kvwall.simulator.operators.linear import Arithmetic, product
from kvwall.simulator.operators.running import passes_of, seen_by, thinned
from kvwall.simulator.operators.split import Split
from kvwall.simulator.operators.streamed import streamed_again
from kvwall.simulator.traffic import Numeric, Operator, Pipeline, Traffic, term
from kvwall.workloads.model_spec import ExpertFeedForward, HeadAttention, ModelSpec

#: 16-bit elements moved per element of a routed row: sorted by expert, quantised, gathered back and weighed (15 bytes;
#: prefills of three mixtures of experts in closed-loop H100 series take 13 to 36, aiconfigurator serving tables).
ROUTED_ELEMENTS = 7.5


@dataclass(frozen=True)
class StepShape:
    """What a step is made of, apart from the cache.

    :ivar model: the architecture
    :ivar arithmetic: number format of the weights on this kind of device
    :ivar deployment: how the model is split
    :ivar per_node: devices of one node
    :ivar switch_sums: the switch inside a node adds up what is reduced through it
    :ivar reach: devices that the links inside a node join; 1 where there are none
    :ivar microbatches: parts of the batch that follow one another through the pipeline
    :ivar passes: passes of the engine that a prefill is cut into; each reads the weights again
    :ivar whole_vocabulary: every rank holds and multiplies the whole LM head
    :ivar all_logits: every token of a prompt meets the LM head, not only its last
    :ivar breadth: experts that a batch touches beyond those of one token, over those of independent routing
    """

    model: ModelSpec
    arithmetic: Arithmetic
    deployment: Deployment
    per_node: int
    reach: int = 8
    microbatches: Numeric = 1.0
    passes: Numeric = 1.0
    breadth: float = 1.0
    whole_vocabulary: bool = False
    all_logits: bool = False
    switch_sums: bool = False

    @property
    def ranks(self) -> Numeric:
        """Times that the path through all layers is paid per step over the whole deployment."""
        return self.deployment.tp * self.deployment.dp * self.microbatches

    def ring(self, size: int, star: bool = False) -> Ring:
        """A ring, or a star, of ``size`` neighbouring ranks."""
        link = self.link(size)
        if link == "scale out" and not star and size % self.per_node == 0:
            return Ring(size, link, per_node=self.per_node, inner=self.link(self.per_node))
        return Ring(size, link, star, self.switch_sums and link == "scale up" and not star)

    def link(self, span: int) -> Link:
        """The slowest link among ``span`` neighbouring devices."""
        if span > self.per_node:
            return "scale out"
        return "scale up" if span <= self.reach else "peer"


def step_traffic(cache: Cache, shape: StepShape) -> Traffic:
    """All operators of one step on one rank, through every pipeline stage.

    :param cache: the rewritten cache of one attention group of ranks, ``cache.batch`` sequences of one microbatch
    :param shape: model, weights and deployment
    """
    d, run = shape.deployment, cache.execution
    attention_tokens = cache.batch * (cache.query_tokens * run.computed_share + run.repeated_tokens)
    tokens = attention_tokens * d.attn_dp
    operators: list[Operator] = [
        embed(tokens, shape.model.hidden_size, shape.arithmetic.bits("embedding"), shape.ranks)
    ]
    operators += _attention(cache, shape, attention_tokens)
    operators += _scheme_operators(cache, shape)
    operators += _feed_forward(shape, tokens, run)
    operators += streamed_again(shape.model, cache, 1.0 / d.tp, shape.ranks)
    if run.weights_away:
        # One load serves the blocks of a zig-zag schedule, with all experts that any of them touches.
        once = replace(shape, passes=shape.passes / np.minimum(run.blocks, shape.passes))
        reading = [*_attention(cache, once, attention_tokens), *_feed_forward(once, tokens, run)]
        operators += loaded_weights(reading, run, shape.ranks)
    operators += swapped_experts(_expert_bytes(shape), run, shape.ranks)
    operators += beside(_network(shape, attention_tokens, tokens, run), run)
    operators += _head(cache, shape)
    return Traffic(tuple(operators), cache.notes, _pipeline(shape))


def _attention(cache: Cache, shape: StepShape, tokens: Numeric) -> list[Operator]:
    d = shape.deployment
    split = Split(d.attention_tp, d.dcp, shape.ranks)
    operators: list[Operator] = []
    for index, group in enumerate(shape.model.attention):
        linears, run = attention_linears(shape.model, index, d.attention_tp), cache.execution.attention_run(index)
        rows, seen, passes = tokens * run.tokens, seen_by(cache, run), passes_of(shape.passes, run)
        *before, last = [product(linear, rows, shape.arithmetic, shape.ranks, passes) for linear in linears]
        row = 6.0 * shape.model.hidden_size
        if isinstance(group, HeadAttention):
            row += 2.0 * (group.q_heads + 2 * group.kv_heads) * group.head_dim / d.attention_tp
        for cached in (g for g in cache.groups if g.index == index):
            before += attention_operators(cached, seen, split)
        rest = elementwise("norm, rotation, residual", group.layers, rows, row, shape.ranks)
        operators += thinned([*before, last, rest], run)
    if cache.extra_weights:
        extra = term(
            "read factors", "hbm", "2 * W / t", "parameters of the factors beyond the projections they replace",
            tally="weights", W=cache.extra_weights, t=d.attention_tp,
        )  # fmt: skip
        operators.append(Operator("attention", "low-rank factors", "gemm", (extra,), 0, ranks=shape.ranks))
    return operators


def _scheme_operators(cache: Cache, shape: StepShape) -> list[Operator]:
    """Kernels of schemes, of which a rank pays its part of the query heads."""
    share = 1.0 / shape.deployment.attention_tp / shape.deployment.dcp
    return [
        made
        for index, o in cache.operators
        for made in thinned(
            [Operator(o.owner, o.name, o.kind, tuple(shard(t, share) for t in o.terms), o.launches, o.stream,
                      shape.ranks)],
            cache.execution.attention_run(index),
        )
    ]  # fmt: skip


def _feed_forward(shape: StepShape, tokens: Numeric, execution: Execution) -> list[Operator]:
    d = shape.deployment
    operators: list[Operator] = []
    for index, group in enumerate(shape.model.feed_forward):
        linears, run = feed_forward_linears(shape.model, index, d), execution.feed_forward_run(index)
        rows = tokens * run.tokens
        made = feed_forward_operators(
            group, linears, rows, shape.arithmetic, shape.ranks, d.ep, passes_of(shape.passes, run), shape.breadth
        )
        width = group.intermediate_size / d.tp
        routed = 0.0
        if isinstance(group, ExpertFeedForward):
            width = width * group.experts_per_token + group.shared_intermediate_size / d.tp
            # Ranks of one attention group hold the same tokens, and each sorts all of them.
            routed = ROUTED_ELEMENTS * group.experts_per_token * shape.model.hidden_size / d.attn_dp
        row = 2.0 * shape.model.hidden_size + 3.0 * width + routed
        made.append(elementwise("norm, activation, residual", group.layers, rows, row, shape.ranks))
        operators += thinned(made, run)
    return operators


def _pipeline(shape: StepShape) -> Pipeline | None:
    """The stages of the step: where layers do not divide, the last stage has one less."""
    layers, pp = shape.model.layers, shape.deployment.pp
    return Pipeline(shape.microbatches, -(-layers // pp) / layers, layers // pp / layers) if pp > 1 else None


def _expert_bytes(shape: StepShape) -> float:
    """Resident routed experts of one rank, as if it held every stage."""
    groups = range(len(shape.model.feed_forward))
    linears = [linear for i in groups for linear in feed_forward_linears(shape.model, i, shape.deployment)]
    return sum(linear.bytes(shape.arithmetic.weights) for linear in linears if linear.experts)


def _network(shape: StepShape, attention_tokens: Numeric, tokens: Numeric, execution: Execution) -> list[Operator]:
    d, model, star = shape.deployment, shape.model, execution.star_all_reduce
    operators: list[Operator] = []
    if d.attention_tp > 1:
        ring = shape.ring(d.attention_tp, star)
        name = "all-reduce after attention"
        # Layers that all run are one line; groups that run differently are one each.
        layers = [group.layers for group in model.attention] if execution.attention_runs else [model.layers]
        for index, count in enumerate(layers):
            run = execution.attention_run(index)
            rows = attention_tokens * run.tokens
            operators += thinned([all_reduce(name, count, rows, model.hidden_size, ring, shape.ranks)], run)
    if d.tp > 1:
        ring = shape.ring(d.tp, star)
        name = "all-reduce after feed-forward"
        for index, group in enumerate(model.feed_forward):
            run = execution.feed_forward_run(index)
            rows = tokens * run.tokens
            if isinstance(group, ExpertFeedForward) and d.ep == d.tp:
                made = _dispatch(shape, group, rows, ring)
            else:
                made = [all_reduce(name, group.layers, rows, model.hidden_size, ring, shape.ranks)]
            operators += thinned(made, run)
    if d.pp > 1:
        ring = Ring(2, shape.link(d.tp * d.pp))
        name = "pass on to the next stage"
        operators.append(send_receive(name, d.pp - 1, tokens / d.tp, model.hidden_size, ring, shape.ranks))
    return operators


def _dispatch(shape: StepShape, group: ExpertFeedForward, tokens: Numeric, ring: Ring) -> list[Operator]:
    """Every rank sends its share of the tokens to their experts and gets the results back."""
    sent = tokens / ring.size * group.experts_per_token
    hidden = shape.model.hidden_size
    sent_bytes = 1.0 if shape.arithmetic.dtype("experts") == "fp8" else 2.0
    return [
        all_to_all("dispatch to experts", group.layers, sent, hidden, sent_bytes, ring, shape.ranks),
        all_to_all("combine from experts", group.layers, sent, hidden, 2.0, ring, shape.ranks),
    ]


def _head(cache: Cache, shape: StepShape) -> list[Operator]:
    """Only the last token of a prefill, and every query token of a decode step, meets the LM head of most engines."""
    if not shape.model.vocab_size:
        return []
    d, model = shape.deployment, shape.model
    last = cache.prefill and not shape.all_logits
    rows = cache.batch * (np.float64(1.0) if last else cache.query_tokens) * d.attn_dp
    # Stages that share the vocabulary work at the same time, each on its part.
    stages = d.pp if cache.execution.split_vocabulary else 1
    parts, ranks = (1 if shape.whole_vocabulary else d.tp) * stages, shape.ranks * stages
    head = [
        product(head_linear(model, parts), rows, shape.arithmetic, ranks),
        sample(rows, model.vocab_size / parts, ranks),
    ]
    if stages == 1:
        return head
    ring = Ring(stages, shape.link(d.tp * d.pp))
    return [
        send_receive(
            "hand the last states to every stage", stages - 1, rows / d.tp, model.hidden_size, ring, shape.ranks
        ),
        *head,
        all_reduce("join the softmax of the stages", 1, rows, SOFTMAX_ELEMENTS, ring, ranks),
    ]
