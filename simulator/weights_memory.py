"""Resident weights of one rank, the fullest of its pipeline."""

from __future__ import annotations

from dataclasses import dataclass

from kvwall.simulator.deployment import Deployment
from kvwall.simulator.execution import Execution
from kvwall.simulator.linears import (
    Linear,
    attention_linears,
    embedding_linear,
    feed_forward_linears,
    head_linear,
)
from kvwall.workloads.model_spec import ModelSpec
from kvwall.workloads.weight_format import WeightFormat


@dataclass(frozen=True)
class RankWeights:
    """Weights of the fullest rank and of the whole deployment, in bytes.

    :ivar layers_bytes: layers of one pipeline stage
    :ivar ends_bytes: embedding or LM head that the fullest stage also holds
    :ivar extra_bytes: parameters outside the decoder, and what schemes add
    :ivar total_bytes: all ranks of one replica together
    """

    layers_bytes: float
    ends_bytes: float
    extra_bytes: float
    total_bytes: float

    @property
    def rank_bytes(self) -> float:
        """Resident on the fullest rank."""
        return self.layers_bytes + self.ends_bytes + self.extra_bytes

    def resident_bytes(self, execution: Execution, layers: float) -> float:
        """What of the fullest rank stays on the device, with the buffer of the layers that are loaded in turn.

        :param layers: layers of the rank's stage
        """
        away = execution.weights_away
        buffered = min(1.0, execution.buffered_layers / layers) * away
        return self.rank_bytes - self.layers_bytes * (away - buffered)

    def away_bytes(self, execution: Execution) -> tuple[float, float]:
        """What of the fullest rank lies in host memory and on drives."""
        return self.layers_bytes * execution.weights_on_host, self.layers_bytes * execution.weights_on_ssd


def stage_share(layers: int, pp: int) -> float:
    """Part of all layers that the fullest of ``pp`` stages holds: ``ceil(layers / pp) / layers``."""
    return -(-layers // pp) / layers


def layer_linears(model: ModelSpec, deployment: Deployment) -> tuple[Linear, ...]:
    """All matrices of all layers on one tensor-parallel rank, as if it held every stage."""
    attention = [
        linear for i in range(len(model.attention)) for linear in attention_linears(model, i, deployment.attention_tp)
    ]
    forward = [linear for i in range(len(model.feed_forward)) for linear in feed_forward_linears(model, i, deployment)]
    return (*attention, *forward)


def rank_weights(
    model: ModelSpec,
    weights: WeightFormat,
    deployment: Deployment,
    extra_parameters: float = 0.0,
    split_vocabulary: bool = False,
    whole_vocabulary: bool = False,
) -> RankWeights:
    """Resident weights of the fullest rank; ``extra_parameters`` (16 bits each, unsplit) are what schemes add.

    The first stage holds the embedding, the last the LM head; a tied pair is one table, on both ends of a pipeline.
    With ``split_vocabulary`` every stage holds its part of both, with ``whole_vocabulary`` every rank all of it.
    """
    d = deployment
    norms = model.layers * model.norm_matrices * model.hidden_size * (2 if model.norm_bias else 1) * 2.0
    layers_bytes = sum(linear.bytes(weights) for linear in layer_linears(model, d)) + norms
    ranks = 1 if whole_vocabulary else d.tp
    embedding = embedding_linear(model, ranks).bytes(weights) if model.vocab_size else 0.0
    head = head_linear(model, ranks).bytes(weights) if model.vocab_size else 0.0
    factors = extra_parameters * 2.0 / d.attention_tp
    extra = model.extra.count * 2.0 if model.extra else 0.0
    share = stage_share(model.layers, d.pp)
    both = embedding if model.tied_embeddings else embedding + head
    ends = both if d.pp == 1 else both / d.pp if split_vocabulary else max(embedding, head)
    all_ends = both if d.pp == 1 or split_vocabulary else embedding + head
    total = d.tp * (layers_bytes + all_ends + extra + factors)
    return RankWeights(share * layers_bytes, ends, extra + share * factors, total)
