"""Schemes that keep a budget of prompt tokens, chosen by scores at the end of a prompt: one base for all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np

from kvwall.simulator.cache import Axis, Cache, CacheGroup, Segment
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.traffic import Numeric, Operator, Symbols, Term, term
from kvwall.workloads.model_spec import ModelSpec

#: Small kernels of one choice in a layer: product, mask, softmax, cast, sum, pool, top-k, two gathers, two copies, ...
CHOICE_LAUNCHES = 14


class Eviction(Scheme):
    """Base of the schemes that choose per head which prompt tokens of a full-attention layer stay.

    ``prefill=layerwise`` is an engine that runs the whole prompt through a layer and cuts that layer before the next:
    only one layer is ever whole. ``chunked`` is a serving engine, whose later chunks attend to all earlier tokens in
    every layer, so that the whole prompt stays until its last chunk.
    """

    axes: ClassVar[frozenset[Axis]] = frozenset({"tokens"})
    drops_after_prompt: ClassVar[bool] = True
    excludes: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("xquant", "xquant_cl"), "the layer inputs that it caches serve all heads, so per-head keep-sets do not exist"
    )

    prefill: Literal["chunked", "layerwise"] = "chunked"

    @abstractmethod
    def kept(self, stored: Numeric, cache: Cache) -> Numeric:
        """Tokens that stay of ``stored`` tokens per sequence and layer."""

    @abstractmethod
    def choice(self, group: CacheGroup, cache: Cache) -> Operator:
        """What choosing takes in the prefill of a prompt, all layers of ``group``."""

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "one latent serves all heads, so per-head keep-sets do not exist")

    def cut(self, group: CacheGroup, cache: Cache) -> CacheGroup:
        """A full-attention group after the choice; bounded layers are narrow already."""
        if group.kind != "full":
            return group

        def survivors(segment: Segment) -> Segment:
            stored = self.kept(segment.stored, cache)
            return replace(segment, stored=stored, read=np.minimum(segment.read, stored))

        tensors = tuple(tensor.map(survivors) for tensor in group.tensors)
        return replace(group, tensors=tensors, attended=self.kept(group.attended, cache))

    def rewrite(self, cache: Cache) -> Cache:
        """The survivors; in a prefill the tokens that are still whole, and what choosing takes."""
        if not cache.prefill:
            return cache.map_groups(lambda group: self.cut(group, cache))
        choices = tuple((g.index, self.choice(g, cache)) for g in cache.groups if g.kind == "full")
        chosen = replace(cache, operators=(*cache.operators, *choices))
        if self.prefill == "layerwise":
            return OneLayerWhole(inner=self).rewrite(chosen)
        return chosen.noting(f"{self.name}: the prefill still holds the whole prompt (chunked and paged engines)")

    @property
    def while_prefilling(self) -> Scheme | None:
        """Nothing is dropped before the last chunk, or all layers but one are cut already."""
        return OneLayerWhole(inner=self) if self.prefill == "layerwise" else None

    def gather(self, group: CacheGroup, cache: Cache, chosen: Numeric = 1.0) -> Term:
        """Moves of the survivors: read and written; layer by layer the whole prompt's rows are written before that.

        :param chosen: 1 where a choice is made, 0 where the prompt is within the budget
        """
        shape: Symbols = {
            "h": group.kv_heads, "c": group.head_dim + group.value_dim, "B": cache.batch,
            "L": group.layers, "k": self.kept(cache.prompt, cache), "x": chosen,
        }  # fmt: skip
        equation = "2 * h * c * 2 * B * L * k * x"
        if self.prefill == "layerwise":
            # Attention counts as written what stays of a layer: the survivors, but for the one layer that is whole.
            equation = "h * c * 2 * B * ((L - 1) * S + (L + 1) * k) * x"
            shape["S"] = cache.prompt
        return term("gather kept tokens", "hbm", equation, self.reference, compulsory=False, **shape)


class OneLayerWhole(Scheme):
    """A layer-by-layer prefill at its peak: every layer is cut but the one that holds the whole prompt."""

    name: ClassVar[str] = "one layer whole"
    axes: ClassVar[frozenset[Axis]] = frozenset({"tokens"})

    inner: Eviction

    def rewrite(self, cache: Cache) -> Cache:
        """One layer of the first full-attention group as it is, the others cut."""
        whole = next((i for i, group in enumerate(cache.groups) if group.kind == "full"), None)
        groups: list[CacheGroup] = []
        for i, group in enumerate(cache.groups):
            held = 1.0 if i == whole else 0.0
            if held:
                groups.append(replace(group, layers=held))
            if group.layers > held:
                groups.append(self.inner.cut(replace(group, layers=group.layers - held), cache))
        return replace(cache, groups=tuple(groups))


def window_scores(group: CacheGroup, cache: Cache, window: int, chosen: Numeric, reference: str) -> tuple[Term, ...]:
    """What the attention of the last ``window`` queries over a prompt takes: a second product, its scores, the keys.

    :param chosen: 1 where a choice is made, 0 where the prompt is within the budget
    """
    shared: Symbols = {"L": group.layers, "B": cache.batch, "S": cache.prompt, "x": chosen}
    return (
        term("scores of the last queries", "matrix", "2 * L * H * w * d * B * S * x", reference,
             H=group.q_heads, w=window, d=group.head_dim, **shared),
        term("move scores", "hbm", "16 * L * H * w * B * S * x", "16 and 32-bit scores, each written and read",
             compulsory=False, H=group.q_heads, w=window, **shared),
        term("read keys", "hbm", "L * h * d * 2 * B * S * x", reference, h=group.kv_heads, d=group.head_dim, **shared),
    )  # fmt: skip
