"""CacheBlend: caches of retrieved chunks are loaded, and a part of their tokens is computed anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.cache import Axis, Cache, CacheGroup
from kvwall.simulator.loading import load_operators
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.traffic import Numeric, Operator, Symbols, term
from kvwall.workloads.model_spec import ModelSpec


class CacheBlend(Scheme):
    """Reuse the caches of chunks that are no prefix: all of the first layer, then ``recompute`` of the tokens.

    The second layer projects all tokens to choose those whose values deviate most (``check_part`` of a layer's work, a
    fifth to three tenths in the published models); the last ``question`` tokens are always computed.
    ``recompute=auto`` is the published controller: the largest ratio that does not delay the load, 0.15 at least. The
    default is that of the code (0.16; the paper says 0.15).
    """

    name: ClassVar[str] = "cacheblend"
    title: ClassVar[str] = "caches of chunks loaded from a tier, a part of their tokens computed anew"
    axes: ClassVar[frozenset[Axis]] = frozenset({"sequences"})
    equations: ClassVar[tuple[str, ...]] = (
        "computed part of S tokens: c = (1 + check_part + (1 - check_part) r + (L - 2) r) / L",
        "attention: c S (S + 1) / 2 pairs, load S kv, prefill = load of a layer + max(compute, load of the others)",
        "moved positions: read and write the keys of S tokens",
    )
    reference: ClassVar[str] = "Yao et al. 2024, CacheBlend, arXiv 2405.16444, section 4 and released code"
    limits: ClassVar[tuple[str, ...]] = (
        "helps the time to the first token only: decode reads the whole context",
        "needs rotary positions, which can be moved; not on latents (MLA)",
        "quality was shown for 5 to 18 % of the tokens",
    )
    searched: ClassVar = {"recompute": (1.0, 0.15)}

    recompute: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = 0.16
    to: Literal["host", "ssd"] = "host"
    question: int = Field(0, ge=0, le=1_000_000)
    check_part: float = Field(0.25, ge=0, le=1)
    layerwise: bool = True

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values and positions that can be moved."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "its latents were not blended")
        if model.learned_positions:
            raise ForbiddenError(
                f"scheme {self.name!r} does not apply to {model.name}: learned positions of cached keys cannot be moved"
            )

    def rewrite(self, cache: Cache) -> Cache:
        """A prefill computes a part of its tokens beside the load of all; a decode step is left alone."""
        ratio = 0.15 if self.recompute == "auto" else self.recompute
        if not cache.prefill or ratio >= 1:
            return cache
        tokens = cache.query_tokens
        known = np.maximum(tokens - self.question, 0.0)
        layers = sum(group.layers for group in cache.groups)
        part = (1.0 + self.check_part + (1.0 - self.check_part + layers - 2.0) * ratio) / layers
        share = np.minimum(1.0, (part * known + np.minimum(self.question, tokens)) / np.maximum(tokens, 1.0))
        operators = load_operators(cache, known, self.to, self.name, self.reference, self.layerwise)
        operators += [(g.index, self._fit(g, cache, known)) for g in cache.groups if g.kind != "linear"]
        run = replace(cache.execution, computed_share=share)
        return replace(cache, execution=run, operators=(*cache.operators, *operators))

    def _fit(self, group: CacheGroup, cache: Cache, known: Numeric) -> Operator:
        """Loaded keys take their new positions; the values of one layer are compared."""
        shape: Symbols = {"B": cache.batch, "n": known}
        terms = (
            term("move keys to new positions", "hbm", "4 * L * H * d * B * n", self.reference,
                 L=group.layers, H=group.kv_heads, d=group.head_dim, **shape),
            term("compare values", "vector", "3 * H * d * B * n", self.reference,
                 H=group.kv_heads, d=group.value_dim, **shape),
        )  # fmt: skip
        return Operator("cacheblend", "fit loaded keys", "elementwise", terms, 2 * group.layers)
