"""What a rank of a serving engine keeps for itself, and the memory that is left for the cache.

Before the cache is sized, an engine runs one pass of the largest size and keeps what that pass needs:

* activation peak: 2 B x tokens x (widest layer of the rank + 3 hidden rows: residual, layer input, layer output);
* sampler workspace: bytes per logit x rows x vocabulary (fp32 logits, probabilities and the buffers of a sort);

the two are never alive at the same time, so the larger one is the peak. On top come the device context, the buffers of
the communicators and, where the engine counts them, the captured graphs. Every figure of the equations is data of the
engine's profile, with its source.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Literal

from kvwall.hardware.band import BytesBand, FactorBand
from kvwall.hardware.engine import Engine
from kvwall.hardware.errors import InputError
from kvwall.workloads.model_spec import AttentionGroup, FeedForwardGroup, HeadAttention, LatentAttention, ModelSpec

Stage = Literal["driver", "before load", "after load"]

_GIB = 2.0**30
#: Above this much memory a device has the communicator buffers of a large one (NVLink boards).
_LARGE_DEVICE_BYTES = 64 * _GIB
#: When nobody says how many sequences a large device was started for, 256 (the other default) is as credible.
_SMALL_DEVICE_SEQUENCES = 256
_HIDDEN_ROWS = 3
_BYTES_PER_ACTIVATION = 2


@dataclass(frozen=True)
class ByteBand:
    """An amount of memory in bytes: a central 80 % band and its middle."""

    low: float
    mid: float
    high: float


#: Memory of the device that a framework does not see, from totals in start-up logs against what the driver reports:
#: 0.25 (V100), 0.43 (RTX 4090), 0.46 (H100), 0.57 (L40S) and 0.85 GiB (A100 80 GB).
DRIVER_BYTES = ByteBand(0.25 * _GIB, 0.45 * _GIB, 0.85 * _GIB)


@dataclass(frozen=True)
class RankShape:
    """The dimensions of a model that a start-up pass depends on, as one rank sees them.

    :ivar layers: layers of the rank
    :ivar hidden_size: width of the residual stream
    :ivar widest_layer: elements per token alive at once in the widest layer, beside the hidden rows
    :ivar vocab_size: vocabulary (logits are gathered: every rank has all of them)
    """

    layers: int
    hidden_size: int
    widest_layer: float
    vocab_size: int


@dataclass(frozen=True)
class StartUp:
    """How an engine is started on one rank.

    :ivar max_batched_tokens: tokens of the largest pass
    :ivar max_num_seqs: sequences of the largest batch
    :ivar memory_bytes: memory of the device
    :ivar memory_is_visible: whether ``memory_bytes`` is what the framework sees (an engine's log) and not what the
        driver reports (a data sheet), which is a little more
    :ivar sequences_stated: whether ``max_num_seqs`` was stated; a default widens the band
    :ivar eager: whether no graph is captured
    """

    max_batched_tokens: int
    max_num_seqs: int
    memory_bytes: float
    tp: int = 1
    memory_is_visible: bool = False
    sequences_stated: bool = True
    eager: bool = False

    def __post_init__(self) -> None:
        for option in ("max_batched_tokens", "max_num_seqs", "tp"):
            value = getattr(self, option)
            if value < 1:
                raise InputError(f"--{option.replace('_', '-')} {value}: needs a whole number from 1")
        if self.memory_bytes <= 0:
            raise InputError(f"--gpu-memory-gib {self.memory_bytes / _GIB:g}: needs a positive amount of memory")


@dataclass(frozen=True)
class Component:
    """One named part of the reserve, in bytes, with the equation and the reference it is from."""

    name: str
    stage: Stage
    bytes: ByteBand
    equation: str
    reference: str


@dataclass(frozen=True)
class Reserve:
    """All parts of what one rank keeps for itself; they add up (the sampler counts beyond the activation peak only)."""

    components: tuple[Component, ...]

    def at(self, *stages: Stage) -> float:
        """Middle of the parts of these stages, bytes."""
        return sum(part.bytes.mid for part in self.components if part.stage in stages)

    @property
    def total(self) -> ByteBand:
        """Every part, their bands combined as independent errors."""
        return combine(part.bytes for part in self.components)


def combine(bands: Iterable[ByteBand]) -> ByteBand:
    """The sum of independent amounts: middles add, distances to the band's ends add in quadrature."""
    known = list(bands)
    mid = sum(band.mid for band in known)
    return ByteBand(
        max(mid - sqrt(sum((band.mid - band.low) ** 2 for band in known)), 0.0),
        mid,
        mid + sqrt(sum((band.high - band.mid) ** 2 for band in known)),
    )


def rank_shape(model: ModelSpec, tp: int, pp: int = 1) -> RankShape:
    """The dimensions of ``model`` on one of ``tp x pp`` ranks (the last pipeline stage, which samples)."""
    hidden = model.hidden_size
    if model.factored is not None and model.factored.streamed:
        widths = streamed_widths(model, model.factored.keep, tp)
    else:
        widths = [_attention_width(group, tp) for group in model.attention]
        widths += [_feed_forward_width(group, hidden, tp) for group in model.feed_forward]
    widest = max(widths)
    return RankShape(-(-model.layers // pp), model.hidden_size, widest, model.vocab_size)


def streamed_widths(model: ModelSpec, keep: float, tp: int) -> list[float]:
    """Elements per token of each layer kind where kernels stream factors: ranks, and what a kernel writes.

    Attention: ``r_q + r_k + r_v`` and its output; feed-forward: the rank of each input matrix and a hidden row. Shao et
    al. 2025, FlashSVD, arXiv 2508.01506. Layers without heads of keys and values are as wide as ever.
    """

    def rank(width: float) -> float:
        return keep * model.hidden_size * width / (model.hidden_size + width)

    widths = []
    for group in model.attention:
        if isinstance(group, HeadAttention):
            heads = (group.q_heads * group.head_dim, group.kv_heads * group.head_dim, group.kv_heads * group.value_dim)
            widths.append(sum(rank(width) for width in heads) + group.q_heads * group.value_dim / tp)
        else:
            widths.append(_attention_width(group, tp))
    for forward in model.feed_forward:
        if forward.kind == "dense":
            widths.append((forward.matrices - 1) * rank(forward.intermediate_size) + model.hidden_size)
        else:
            widths.append(_feed_forward_width(forward, model.hidden_size, tp))
    return widths


def _attention_width(group: AttentionGroup, tp: int) -> float:
    """Queries, keys, values and outputs of one token; MLA expands its latent to full heads in prefill."""
    if isinstance(group, HeadAttention):
        kv_heads = max(group.kv_heads / tp, 1.0)
        queries = group.q_heads / tp * (group.head_dim + group.value_dim)
        return queries + kv_heads * (group.head_dim + group.value_dim)
    if isinstance(group, LatentAttention):
        key = group.qk_nope_head_dim + group.qk_rope_head_dim
        return group.q_heads / tp * 2 * (key + group.v_head_dim)
    return 0.0


def _feed_forward_width(group: FeedForwardGroup, hidden_size: int, tp: int) -> float:
    """Gate, up and their product; a mixture of experts keeps one row per visited expert, and their outputs."""
    projected = (group.matrices - 1) * group.intermediate_size / tp
    product = group.intermediate_size / tp
    if group.kind == "dense":
        return projected + product
    routed = group.experts_per_token * (max(projected, hidden_size) + product)
    return routed + group.matrices * group.shared_intermediate_size / tp


def engine_reserve(engine: Engine, shape: RankShape, start: StartUp) -> Reserve:
    """The reserve of one rank.

    peak = max(2 B x f x N x (widest + 3 H), c x R x V); reserve = peak + context + communication + graphs, with
    N batched tokens, H hidden size, R sequences (never more than N; N itself where an engine keeps the logits of every
    token), V vocabulary; f, c and the rest are bands of the profile. Reference: start-up logs cited there.

    :param engine: the profile
    :param shape: the model on this rank
    :param start: how the engine is started
    """
    rules = engine.reserve
    driver = ByteBand(0.0, 0.0, 0.0) if start.memory_is_visible or engine.engine == "none" else DRIVER_BYTES
    large = start.memory_bytes > _LARGE_DEVICE_BYTES
    communication = rules.communication_large_bytes if large else rules.communication_small_bytes
    captured = engine.graphs_in_budget and not start.eager
    return Reserve(
        (
            Component("driver", "driver", driver, "M - visible", "totals printed in start-up logs"),
            _fixed("context", "before load", rules.context_bytes, 1, "context"),
            _fixed("communication", "before load", communication, 1 if start.tp > 1 else 0, "buffers if TP > 1"),
            *_peak(engine, shape, start),
            _fixed("graphs", "after load", rules.graph_per_layer_bytes, shape.layers if captured else 0, "g * layers"),
        )
    )


def _peak(engine: Engine, shape: RankShape, start: StartUp) -> tuple[Component, Component]:
    """The activation peak, and what the sampler needs beyond it."""
    rules = engine.reserve
    row_bytes = _BYTES_PER_ACTIVATION * (shape.widest_layer + _HIDDEN_ROWS * shape.hidden_size)
    activation = _scaled(rules.activation_factor, start.max_batched_tokens * row_bytes)
    rows = start.max_batched_tokens if rules.logits_of == "tokens" else start.max_num_seqs
    rows = min(rows, start.max_batched_tokens)
    sampler = _scaled(rules.logit_bytes, rows * shape.vocab_size)
    if not start.sequences_stated and rules.logits_of == "sequences":
        few = min(rows, _SMALL_DEVICE_SEQUENCES)
        sampler = ByteBand(sampler.low * few / rows, sampler.mid, sampler.high)
    beyond = ByteBand(
        max(sampler.low - activation.low, 0.0),
        max(sampler.mid - activation.mid, 0.0),
        max(sampler.high - activation.high, 0.0),
    )
    # The peak is one quantity: the part that binds carries its whole band, so that it is not widened twice.
    peak = ByteBand(activation.low + beyond.low, activation.mid + beyond.mid, activation.high + beyond.high)
    if beyond.mid > 0:
        activation = ByteBand(activation.mid, activation.mid, activation.mid)
        beyond = ByteBand(max(peak.low - activation.mid, 0.0), beyond.mid, peak.high - activation.mid)
    else:
        activation, beyond = peak, ByteBand(0.0, 0.0, 0.0)
    return (
        Component(
            "activation", "after load", activation, "2 * f * N * (widest + 3 * H)", rules.activation_factor.source
        ),
        Component("sampler", "after load", beyond, "max(c * R * V - activation, 0)", rules.logit_bytes.source),
    )


def _scaled(factor: FactorBand, amount: float) -> ByteBand:
    return ByteBand(factor.low * amount, factor.mid * amount, factor.high * amount)


def _fixed(name: str, stage: Stage, band: BytesBand, count: int, equation: str) -> Component:
    amount = ByteBand(band.low * count, band.mid * count, band.high * count)
    return Component(name, stage, amount, equation, band.source)
