"""ScaleKV: at each scale of an image, layers that need history keep it and the others keep little."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from kvwall.simulator.cache import Axis, Cache, CacheGroup
from kvwall.simulator.scheme import Scheme
from kvwall.simulator.traffic import Numeric, Operator, Symbols, Term, term
from kvwall.simulator.visual import cached_tokens, forbid_text, gather, keeping
from kvwall.workloads.model_spec import ModelSpec


class ScaleKv(Scheme):
    """Layers keep ``budget`` tokens on the mean: ``drafters`` layers all they can, the refiners the rest.

    The default is a tenth of the 6,425 tokens of twelve scales at 1,024 pixels, with the two drafter layers of
    Infinity-2B (three in Infinity-8B). After each scale the ``window`` tokens of a grid on its map stay, and those of
    the cache that their queries score best. ``project=again`` is the released hook, which computes the projections of
    the map a second time to get at those queries.
    """

    name: ClassVar[str] = "scalekv"
    title: ClassVar[str] = "layer budgets by role at each scale of a visual model"
    axes: ClassVar[frozenset[Axis]] = frozenset({"tokens"})
    equations: ClassVar[tuple[str, ...]] = (
        "n tokens of earlier scales: drafters keep k_d = min(n, (L b - (L - D) w) / D)",
        "refiners keep k_r = min(n, (L b - D k_d) / (L - D))",
        "stored = read = 2 B min(n, b) L C (4 + 2) bytes  (guidance doubles the batch, keys in fp32)",
        "a scale of m tokens attends to k + m; choosing takes 6 m C^2 + 2 w (k + m) C FLOP a layer",
    )
    reference: ClassVar[str] = "Li et al. 2025, ScaleKV, arXiv 2505.19602, section 4 and released code"
    limits: ClassVar[tuple[str, ...]] = (
        "the percentages of the paper are of the scales before the last; the last map is still attended whole",
        "while a scale is made one layer holds its tokens beside the budget",
        "roles of layers come from a calibration",
    )

    budget: int = Field(650, ge=1, le=100_000_000)
    drafters: int = Field(2, ge=0, le=10_000)
    window: int = Field(16, ge=1, le=65536)
    project: Literal["again", "kept"] = "again"

    @model_validator(mode="after")
    def _check_window(self) -> ScaleKv:
        if self.window > self.budget:
            raise ValueError(f"window {self.window} exceeds budget {self.budget}")
        return self

    def check(self, model: ModelSpec) -> None:
        """Visual models only."""
        forbid_text(self, model)

    def rewrite(self, cache: Cache) -> Cache:
        """Drafters and refiners as groups of their own, and what the choice after a scale takes."""
        groups: list[CacheGroup] = []
        choices: list[tuple[int, Operator]] = []
        for group in cache.groups:
            seen = cached_tokens(group) + cache.query_tokens
            chosen = np.where(seen > self.budget, 1.0, 0.0)
            for part in self._roles(group):
                groups.append(part)
                if not cache.prefill:
                    choices.append((part.index, self._choice(part, cache, chosen)))
        return replace(cache, groups=tuple(groups), operators=(*cache.operators, *choices))

    def _roles(self, group: CacheGroup) -> list[CacheGroup]:
        """The drafter and the refiner layers of ``group`` with the tokens that each keeps."""
        layers, seen = group.layers, cached_tokens(group)
        drafters = min(float(self.drafters), layers - 1)
        if not drafters:
            return [keeping(group, np.minimum(seen, self.budget))]
        left = layers - drafters
        history: Numeric = np.minimum(seen, (layers * self.budget - left * self.window) / drafters)
        rest: Numeric = np.minimum(seen, (layers * self.budget - drafters * history) / left)
        return [keeping(replace(group, layers=drafters), history), keeping(replace(group, layers=left), rest)]

    def _choice(self, group: CacheGroup, cache: Cache, chosen: Numeric) -> Operator:
        shape: Symbols = {"L": group.layers, "C": group.hidden_size, "B": cache.batch, "x": chosen}
        tokens = cached_tokens(group) + cache.query_tokens
        terms: tuple[Term, ...] = (
            term("scores of the window", "matrix", "2 * L * w * n * C * B * x", self.reference, w=self.window, n=tokens,
                 **shape),
            gather(group, cache, chosen, self.reference),
        )  # fmt: skip
        if self.project == "again":
            terms += (
                term("project the map again", "matrix", "6 * L * m * C * C * B * x", self.reference, compulsory=False,
                     m=cache.query_tokens, **shape),
                term("read projections", "hbm", "6 * L * C * C * x", self.reference, compulsory=False, L=group.layers,
                     C=group.hidden_size, x=chosen),
            )  # fmt: skip
        return Operator(self.name, "choose tokens of a scale", "attention", terms, 12.0 * group.layers * chosen)
