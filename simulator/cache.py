"""The KV cache as data: *sequences x layers x tokens x channels x bits*, in some place, of which a step reads a part.

A :class:`Cache` is what schemes rewrite. It holds groups of alike layers; a group holds tensors (keys, values, a
latent, a recurrent state); a tensor holds segments of tokens that share a format and a place. Token counts are arrays
that broadcast over batch and context; everything else is a number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kvwall.hardware.dtype import Dtype
from kvwall.simulator.execution import PLAIN, Execution
from kvwall.simulator.traffic import Array, Numeric, Operator

Place = Literal["hbm", "host", "ssd"]
Attendant = Literal["device", "host", "storage"]
Axis = Literal[
    "shape", "sequences", "layers", "tokens", "reads", "channels", "bits", "place", "weights", "schedule"
]  # fmt: skip
Role = Literal[
    "key", "value", "latent", "rope key", "index key", "page bounds", "landmark", "state", "layer input", "channel key",
    "scores", "channel scales", "factor",
]  # fmt: skip

#: Roles that hold what attention reads, so that a number format or an eviction applies to them.
CONTENT_ROLES: frozenset[str] = frozenset({"key", "value", "latent", "rope key"})


@dataclass(frozen=True, slots=True)
class Bits:
    """A number format: payload bits, and the metadata that a group of elements shares.

    :ivar name: as people call it
    :ivar payload: bits of one element's code
    :ivar scale: bits of one group's scale
    :ivar zero: bits of one group's zero point
    :ivar group: elements that share them; 0 when the whole tensor does, so that the metadata weighs nothing
    :ivar dequantise_flops: FLOP per element that no kernel avoids (one FMA for a grouped scale)
    :ivar sparse: bits per element of values that are kept apart as a sparse matrix, indices included
    :ivar unpack_flops: further vector work per element: shift, mask, convert (estimate)
    :ivar native: dtype in which a matrix unit takes the codes as they are, if any
    """

    name: str = "16 bit"
    payload: float = 16.0
    scale: float = 0.0
    zero: float = 0.0
    group: float = 0.0
    dequantise_flops: float = 0.0
    unpack_flops: float = 0.0
    native: Dtype | None = None
    sparse: float = 0.0

    @property
    def effective(self) -> float:
        """Stored bits per element, metadata included: ``payload + sparse + (scale + zero) / group``."""
        return self.payload + self.sparse + ((self.scale + self.zero) / self.group if self.group else 0.0)


SIXTEEN_BITS = Bits()


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens of one tensor that share a format and a place.

    :ivar label: which tokens: ``"tokens"``, ``"window"``, ``"sinks"``, ...
    :ivar stored: tokens kept per sequence
    :ivar read: tokens of them that one step reads per sequence
    :ivar bits: their number format
    :ivar place: where they lie
    :ivar attend_on: who computes attention over them: the device, the host's processors, or those of the drives
    """

    label: str
    stored: Numeric
    read: Numeric
    bits: Bits = SIXTEEN_BITS
    place: Place = "hbm"
    attend_on: Attendant = "device"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One cached tensor of one layer.

    :ivar role: what it holds
    :ivar heads: heads that tensor parallelism may split; 0 when every rank keeps the whole tensor
    :ivar channels: elements per head and token
    :ivar segments: its tokens, oldest first
    :ivar divisible: the tensor splits evenly over any number of ranks (recurrent state)
    :ivar owner: the scheme that added it, or ``"model"``
    :ivar grows: a decode step appends its new tokens; false for what a prefill makes once
    """

    role: Role
    heads: int
    channels: float
    segments: tuple[Segment, ...]
    divisible: bool = False
    owner: str = "model"
    grows: bool = True

    @property
    def elements(self) -> float:
        """Elements per token of one layer on an unsplit model."""
        return max(self.heads, 1) * self.channels

    def share(self, tp: int) -> float:
        """Part of the tensor that one of ``tp`` ranks keeps: ``ceil(heads / tp) / heads``, or all of it."""
        if self.divisible:
            return 1.0 / tp
        return -(-self.heads // tp) / self.heads if self.heads else 1.0

    def stored_bytes(self, place: Place | None = None) -> Numeric:
        """Bytes of one sequence in one layer, on an unsplit model, in ``place`` or anywhere."""
        chosen = [s for s in self.segments if place is None or s.place == place]
        return sum((self.elements * s.bits.effective / 8 * s.stored for s in chosen), start=np.float64(0.0))

    def map(self, change: Callable[[Segment], Segment | tuple[Segment, ...]]) -> Tensor:
        """The tensor with every segment replaced by what ``change`` makes of it."""
        made = [change(segment) for segment in self.segments]
        segments = tuple(s for group in made for s in (group if isinstance(group, tuple) else (group,)))
        return replace(self, segments=segments)


@dataclass(frozen=True, slots=True)
class CacheGroup:
    """Alike layers of the cache.

    :ivar index: position of the group in the model's ``attention`` list
    :ivar kind: full, sliding, chunked, mla or linear
    :ivar layers: layers that own a cache
    :ivar tensors: what each of them keeps
    :ivar attended: tokens that one new query attends to
    :ivar reads_known: which tokens a step reads is known before its query exists, so that a copy may be prefetched
    :ivar shared_reads: one read of shared tokens serves several sequences, which no plain kernel does
    :ivar window: tokens that the architecture lets a layer see, if it is bounded
    :ivar q_heads: query heads
    :ivar kv_heads: key and value heads of the architecture
    :ivar head_dim: channels of one key head
    :ivar value_dim: channels of one value head
    :ivar hidden_size: width of the layer's input
    :ivar prefill_dims: key and value channels of a head in prefill, where latents are expanded
    :ivar prefill_share: part of a prompt's tokens over which prefill attention runs, as queries and as keys
    :ivar indexer: heads (mean over the layers) and channels of the indexer that chooses what is read
    :ivar index_top_k: tokens that an indexer lets one query read
    """

    index: int
    kind: Literal["full", "sliding", "chunked", "mla", "linear"]
    layers: float
    tensors: tuple[Tensor, ...]
    attended: Numeric
    reads_known: bool = True
    window: int | None = None
    q_heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    value_dim: int = 0
    hidden_size: int = 0
    prefill_dims: tuple[int, int] = (0, 0)
    indexer: tuple[float, int] = (0.0, 0)
    index_top_k: int | None = None
    prefill_share: float = 1.0
    shared_reads: bool = False

    def stored_bytes(self, place: Place | None = None) -> Numeric:
        """Bytes of one sequence in all layers of the group, on an unsplit model."""
        return self.layers * sum((t.stored_bytes(place) for t in self.tensors), start=np.float64(0.0))


@dataclass(frozen=True, slots=True)
class Cache:
    """What one replica keeps for its sequences, and the extra work that schemes ask for.

    :ivar groups: alike layers
    :ivar batch: sequences that one step of one rank serves
    :ivar resident: sequences whose cache lies on the rank (more than ``batch`` where a pipeline splits the batch)
    :ivar context: tokens cached per sequence, as the user counts them
    :ivar generated: tokens of the context that were generated, not prompted
    :ivar query_tokens: new tokens per sequence in this step
    :ivar prefill: the step is a prefill
    :ivar shared_prefix: tokens of the context that all sequences share and that are stored once
    :ivar operators: work of schemes that runs as kernels of its own, unsplit (``ranks`` is the shards it splits over)
    :ivar fused: work of schemes inside the attention kernel of a group, per layer and attended token, so that it
        shrinks with whatever another scheme drops or does not read: ``(group index, operator)``
    :ivar beside_copies: work of schemes that runs while a group's tokens cross the host link, all layers, unsplit:
        ``(group index, operator)``
    :ivar workspace: bytes that a step needs on the device for each of its sequences, one copy for all layers
    :ivar extra_weights: parameters that schemes add to the model (16 bits each), unsplit
    :ivar execution: how the step is run, where a scheme changes that
    :ivar claims: which scheme shrank which axis
    :ivar notes: what was assumed
    """

    groups: tuple[CacheGroup, ...]
    batch: Numeric
    context: Array
    generated: Array
    resident: Numeric = 1.0
    query_tokens: Numeric = 1.0
    prefill: bool = False
    shared_prefix: Numeric = 0.0
    operators: tuple[tuple[int, Operator], ...] = ()
    fused: tuple[tuple[int, Operator], ...] = ()
    beside_copies: tuple[tuple[int, Operator], ...] = ()
    workspace: Numeric = 0.0
    extra_weights: float = 0.0
    execution: Execution = PLAIN
    claims: tuple[tuple[Axis, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def prompt(self) -> Array:
        """Prompt tokens per sequence."""
        return self.context - self.generated

    def stored_bytes(self, place: Place | None = None) -> Numeric:
        """Bytes of one sequence on an unsplit model, in ``place`` or anywhere."""
        return sum((group.stored_bytes(place) for group in self.groups), start=np.float64(0.0))

    def map_tensors(self, change: Callable[[CacheGroup, Tensor], Tensor], roles: frozenset[str]) -> Cache:
        """The cache with every tensor whose role is in ``roles`` replaced by what ``change`` makes of it."""

        def changed(group: CacheGroup) -> CacheGroup:
            tensors = tuple(change(group, t) if t.role in roles else t for t in group.tensors)
            return replace(group, tensors=tensors)

        return replace(self, groups=tuple(changed(group) for group in self.groups))

    def map_groups(self, change: Callable[[CacheGroup], CacheGroup | tuple[CacheGroup, ...]]) -> Cache:
        """The cache with every group replaced by what ``change`` makes of it."""
        made = [change(group) for group in self.groups]
        groups = tuple(g for item in made for g in (item if isinstance(item, tuple) else (item,)))
        return replace(self, groups=groups)

    def noting(self, *notes: str) -> Cache:
        """The cache with further assumptions, each once."""
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, *notes))))
