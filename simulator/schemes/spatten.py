"""SpAtten: an accelerator that fetches fewer tokens, heads, values and bit planes of a cache that stays whole."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import Axis, Bits, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.page_choice import stored_tokens
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.traffic import Numeric
from kvwall.workloads.model_spec import ModelSpec


class SpAtten(Scheme):
    """Cascade pruning leaves ``tokens`` of the tokens and ``heads`` of the heads on the mean over the layers.

    What a layer prunes is absent in all later ones; the first 15 % of the layers keep all tokens and the first 30 % all
    heads. After the softmax only ``values`` of the value rows are fetched. Keys are fetched in bit planes: the upper
    ``msb`` bits, and the lower ``lsb`` for the part ``refetch`` of queries whose largest probability is below a
    threshold, which are then scored again (at 1 all planes are fetched at once). ``stored_bits`` is the width of the
    cache in memory. Defaults are the released workloads of GPT-2 medium on WikiText-2, rounded: 54 % of the keys, 16 %
    of the values, 12 and 8 bits.
    """

    name: ClassVar[str] = "spatten"
    title: ClassVar[str] = "cascade token and head pruning, value pruning and bit planes, on its own accelerator"
    axes: ClassVar[frozenset[Axis]] = frozenset({"reads", "bits"})
    equations: ClassVar[tuple[str, ...]] = (
        "stored = B n L 2 H d stored_bits / 8 bytes, whatever is pruned",
        "read keys = B heads tokens n L H d (msb + refetch lsb) / 8, values = B heads values n L H d value_bits / 8",
        "2 heads H d ((1 + refetch) tokens + values) n FLOP a layer (no second score at refetch 1); one sum a token",
    )
    reference: ClassVar[str] = "Wang et al. 2021, SpAtten, arXiv 2012.09852, sections III and IV; released workloads"
    limits: ClassVar[tuple[str, ...]] = (
        "for an accelerator with a top-k engine and bit-plane memory; on a GPU no kernel does this",
        "published reductions are of attention alone, against 32-bit floats, after fine-tuning",
        "pruning in a prefill is not modelled",
    )

    tokens: float = Field(0.54, gt=0, le=1)
    values: float = Field(0.16, gt=0, le=1)
    heads: float = Field(1.0, gt=0, le=1)
    msb: int = Field(8, ge=1, le=32)
    lsb: int = Field(4, ge=0, le=31)
    refetch: float = Field(1.0, ge=0, le=1)
    value_bits: int = Field(8, ge=1, le=32)
    stored_bits: Literal["16", "32", 16, 32] = 16

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "its heads are pruned one by one, and one latent serves all of them")

    def rewrite(self, cache: Cache) -> Cache:
        """Reads shrink to the planes and rows that are fetched; a sum for each token lies beside the cache."""
        tokens = [stored_tokens(group) for group in cache.groups if group.kind != "linear"]
        longest: Numeric = np.max(np.stack(np.broadcast_arrays(*tokens)), axis=0)
        groups = tuple(group if group.kind == "linear" else self._fetched(group, cache) for group in cache.groups)
        return replace(cache, groups=groups, workspace=cache.workspace + 4.0 * longest)

    def _fetched(self, group: CacheGroup, cache: Cache) -> CacheGroup:
        width = float(self.stored_bits)
        planes = {
            "key": self.tokens * min(1.0, (self.msb + self.refetch * self.lsb) / width),
            "value": self.values * min(1.0, self.value_bits / width),
        }

        def fetched(tensor: Tensor) -> Tensor:
            part = self.heads * planes[tensor.role]

            def plane(segment: Segment) -> Segment:
                return replace(segment, bits=Bits(f"{width:g} bit", width), read=segment.read * part)

            return tensor.map(plane)

        again = self.refetch if self.lsb and self.refetch < 1 else 0.0
        scored = self.tokens * (1 + again)
        tensors = tuple(fetched(t) if t.role in planes else t for t in group.tensors)
        if cache.prefill:
            return replace(group, tensors=tensors)
        return replace(group, tensors=tensors, attended=group.attended * self.heads * (scored + self.values) / 2)
