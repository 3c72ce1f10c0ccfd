"""Model architectures: layers in groups, exact enough to count every parameter and every cached byte."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kvwall.hardware.document import Document
from kvwall.hardware.library import Library

Count = Annotated[int, Field(ge=1, le=100_000_000)]
CountOrZero = Annotated[int, Field(ge=0, le=100_000_000)]
Parameters = Annotated[int, Field(ge=0, le=10**12)]


class HeadAttention(Document):
    """Attention layers with one key and one value per KV head and token.

    ``full`` keeps every token; ``sliding`` the last ``window`` tokens; ``chunked`` the tokens of the current
    ``window``-token chunk. ``kv_layers`` of the ``layers`` own a cache; the others read a neighbour's.
    """

    kind: Literal["full", "sliding", "chunked"]
    layers: Count
    q_heads: Count
    kv_heads: Count
    head_dim: Count
    value_head_dim: Count | None = None
    window: Count | None = None
    kv_layers: Count | None = None
    fp32_keys: bool = Field(False, description="keys are cached in 32 bits")
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: bool = Field(False, description="one norm vector of head_dim for the queries and one for the keys")
    qk_norm_per_head: bool = Field(False, description="with qk_norm: each head has norm vectors of its own")
    output_gate: bool = Field(False, description="the query projection also makes a gate as wide as the queries")
    shared_kv_projection: bool = Field(False, description="values are the keys: one projection makes both")
    sinks: bool = Field(False, description="one learned sink logit per query head")

    @model_validator(mode="after")
    def _check(self) -> HeadAttention:
        if (self.window is None) != (self.kind == "full"):
            needed = "has no window" if self.kind == "full" else "needs a window"
            raise ValueError(f"an attention group of kind {self.kind!r} {needed}")
        if self.q_heads % self.kv_heads:
            raise ValueError(f"q_heads {self.q_heads} is not a multiple of kv_heads {self.kv_heads}")
        if self.kv_layers is not None and self.kv_layers > self.layers:
            raise ValueError(f"kv_layers {self.kv_layers} exceeds layers {self.layers}")
        return self

    @property
    def value_dim(self) -> int:
        """Channels of one value head."""
        return self.value_head_dim or self.head_dim

    @property
    def cached_layers(self) -> int:
        """Layers that own a cache."""
        return self.kv_layers or self.layers

    @property
    def cached_values_per_token(self) -> int:
        """Values of 16 bits that one layer with a cache keeps of one token: keys and values of all KV heads."""
        return self.kv_heads * (self.head_dim * (2 if self.fp32_keys else 1) + self.value_dim)


class Indexer(Document):
    """The key of a lightweight indexer that picks which latents are read (DeepSeek sparse attention).

    ``bytes_per_token`` of one layer: a key of ``head_dim`` FP8 values and one FP32 scale.
    """

    heads: Count
    head_dim: Count
    cache_layers: Count
    bytes_per_token: Count = 132
    top_k: Count = 2048


class LatentAttention(Document):
    """Multi-head latent attention: one latent and one rotary key per token, for all heads."""

    kind: Literal["mla"]
    layers: Count
    q_heads: Count
    q_lora_rank: CountOrZero
    kv_lora_rank: Count
    qk_nope_head_dim: Count
    qk_rope_head_dim: CountOrZero
    v_head_dim: Count
    indexer: Indexer | None = None

    @property
    def cached_layers(self) -> int:
        """Layers that own a cache."""
        return self.layers

    @property
    def cached_values_per_token(self) -> int:
        """Values that one layer keeps of one token: the latent and the rotary key, without an indexer's key."""
        return self.kv_lora_rank + self.qk_rope_head_dim


class LinearState(Document):
    """Layers with a state of constant size per sequence (Mamba, gated delta net, lightning attention)."""

    kind: Literal["linear"]
    layers: Count
    parameters: Parameters = Field(description="of one layer's token mixer")
    ssm_bytes: CountOrZero = Field(description="recurrent state of one sequence in one layer, as engines keep it")
    conv_bytes: CountOrZero = Field(0, description="convolution state of one sequence in one layer")

    @property
    def state_bytes(self) -> int:
        """State of one sequence in one layer."""
        return self.ssm_bytes + self.conv_bytes


AttentionGroup = Annotated[HeadAttention | LatentAttention | LinearState, Field(discriminator="kind")]


class DenseFeedForward(Document):
    """Layers with one feed-forward network that every token visits."""

    kind: Literal["dense"]
    layers: Count
    intermediate_size: Count
    gated: bool = True
    bias: bool = False

    @property
    def matrices(self) -> int:
        """Weight matrices of one network: gate, up and down, or up and down."""
        return 3 if self.gated else 2


class ExpertFeedForward(Document):
    """Layers with a router, ``experts`` routed experts of which a token visits a few, and shared experts."""

    kind: Literal["moe"]
    layers: Count
    experts: Count
    experts_per_token: Count
    intermediate_size: Count = Field(description="of one routed expert")
    shared_intermediate_size: CountOrZero = Field(0, description="of all shared experts together")
    shared_expert_gate: bool = False
    gated: bool = True
    bias: bool = False

    @model_validator(mode="after")
    def _check(self) -> ExpertFeedForward:
        if self.experts_per_token > self.experts:
            raise ValueError(f"experts_per_token {self.experts_per_token} exceeds experts {self.experts}")
        return self

    @property
    def matrices(self) -> int:
        """Weight matrices of one expert."""
        return 3 if self.gated else 2


FeedForwardGroup = Annotated[DenseFeedForward | ExpertFeedForward, Field(discriminator="kind")]


class Published(Document):
    """What the publisher says of the size, to hold the computed count against."""

    total_parameters: float
    active_parameters: float | None = None
    basis: str


class Factored(Document):
    """Every matrix of the layers as a product of two, of rank ``keep m k / (m + k)``: together ``keep m k`` parameters.

    ``streamed`` kernels keep products of first factors in memory and expand tiles of them on chip, so that full
    queries, keys, values and hidden rows of the feed-forward network never exist.
    """

    keep: float = Field(gt=0, le=1)
    streamed: bool = False


class ExtraParameters(Document):
    """Parameters outside the decoder's layers that occupy memory (vision towers, ...)."""

    count: Parameters
    what: str
    read_each_step: bool = False


class ModelSpec(Document):
    """One architecture: layers in attention and feed-forward groups, vocabulary, context and provenance."""

    name: str
    hf_id: str
    aliases: tuple[str, ...] = ()
    source: str
    status: str = "checked"
    layers: Count
    hidden_size: Count
    vocab_size: CountOrZero
    max_context: Count
    tied_embeddings: bool = False
    lm_head_bias: bool = False
    learned_positions: CountOrZero = Field(0, description="rows of a learned position table")
    norm_matrices: CountOrZero = Field(2, description="norm vectors per layer, each of hidden_size (x2 with a bias)")
    norm_bias: bool = False
    dtype: str = "bf16"
    attention: tuple[AttentionGroup, ...]
    feed_forward: tuple[FeedForwardGroup, ...] = ()
    extra: ExtraParameters | None = None
    scales: tuple[Count, ...] = Field(
        (), description="tokens of each scale of a visual model: one pass makes a scale, whose tokens see each other"
    )
    guided: bool = Field(False, description="classifier-free guidance runs every request as two sequences")
    factored: Factored | None = None
    mtp_layers: CountOrZero = Field(0, description="multi-token-prediction layers shipped with the model")
    published: Published | None = None
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> ModelSpec:
        if not self.attention:
            raise ValueError("attention is empty: a model needs at least one attention group")
        mixers = sum(group.layers for group in self.attention)
        networks = sum(group.layers for group in self.feed_forward)
        if self.feed_forward and not (mixers == networks == self.layers or mixers + networks == self.layers):
            raise ValueError(
                f"layers is {self.layers}, but the attention groups have {mixers} and the feed-forward groups "
                f"{networks}: expected both equal to layers, or their sum"
            )
        return self

    @property
    def guidance(self) -> int:
        """Sequences that one request runs as."""
        return 2 if self.guided else 1

    @property
    def growing_values_per_token(self) -> int:
        """Cached values per token over the layers that keep every token (full attention and latents)."""
        return sum(
            group.cached_layers * group.cached_values_per_token
            for group in self.attention
            if group.kind in ("full", "mla") and not isinstance(group, LinearState)
        )

    @property
    def windowed_values_per_token(self) -> int:
        """Cached values per token over the layers that keep a window (sliding and chunked attention)."""
        return sum(
            group.cached_layers * group.cached_values_per_token
            for group in self.attention
            if isinstance(group, HeadAttention) and group.window is not None
        )

    @property
    def index_bytes_per_token(self) -> int:
        """Indexer keys per token over all layers, in bytes."""
        indexers = [group.indexer for group in self.attention if isinstance(group, LatentAttention) and group.indexer]
        return sum(indexer.cache_layers * indexer.bytes_per_token for indexer in indexers)

    @property
    def state_bytes_per_sequence(self) -> int:
        """Constant state of one sequence over all layers, in bytes, as engines keep it."""
        return sum(group.layers * group.state_bytes for group in self.attention if isinstance(group, LinearState))


MODELS = Library("kvwall.workloads", "models", "model", ModelSpec)
