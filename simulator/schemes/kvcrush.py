"""KVCrush: a part of an eviction's budget goes to representatives of what would be dropped."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from kvwall.simulator.cache import Cache, CacheGroup
from kvwall.simulator.eviction import CHOICE_LAUNCHES, Eviction, window_scores
from kvwall.simulator.traffic import Numeric, Operator, Symbols, term


class KvCrush(Eviction):
    """Keep ``budget`` tokens, ``representatives`` of them drawn evenly over the order of their signatures.

    Signatures are one bit per head (does this head's policy keep the token); their Hamming distance to one anchor sorts
    the tokens. They change which tokens stay, never how many. ``variant=token`` evicts prompt tokens once and keeps
    what is generated; ``variant=block`` is OpenVINO GenAI, which evicts whole blocks of ``page`` tokens while it
    generates. Defaults are OpenVINO's 672 tokens (32 first, 128 recent, 512 chosen) and score window of 8 queries;
    a quarter of the chosen tokens as representatives is an assumption (its code leaves them off).
    """

    name: ClassVar[str] = "kvcrush"
    title: ClassVar[str] = "eviction whose budget holds representatives of the dropped tokens"
    equations: ClassVar[tuple[str, ...]] = (
        "variant=token: stored = read = B (min(S, budget) + t) L 2 H_kv d 2 bytes  (S prompt tokens, t generated)",
        "variant=block: stored = read = B min(n, budget + n mod page) L 2 H_kv d 2 bytes",
        "prefill: signatures of L S H_q / 8 bytes (transient), L S H_q / 16 operations for the distances, one sort",
    )
    reference: ClassVar[str] = "Jha et al. 2025, KVCrush, arXiv 2503.00022; OpenVINO GenAI cache eviction"
    limits: ClassVar[tuple[str, ...]] = (
        "no further factor on top of the host policy: the budget is the policy's and the representatives' together",
        "a block engine frees whole blocks only, up to page - 1 tokens late",
        "not with policies that need distances between the keys themselves",
        "fused attention does not give the scores of the host policy: the prefill pays for them again",
    )

    budget: int = Field(672, ge=1, le=1_000_000_000)
    representatives: int = Field(128, ge=0, le=1_000_000_000)
    variant: Literal["token", "block"] = "token"
    page: int = Field(32, ge=1, le=4096)
    window: int = Field(8, ge=1, le=65536)

    @model_validator(mode="after")
    def _check_parts(self) -> KvCrush:
        if self.representatives >= self.budget:
            raise ValueError(f"representatives {self.representatives} leave nothing of budget {self.budget}")
        if self.variant == "block" and self.budget % self.page:
            raise ValueError(f"budget {self.budget} is not a multiple of page {self.page}")
        return self

    def kept(self, stored: Numeric, cache: Cache) -> Numeric:
        """The budget: of the prompt, or in blocks of everything."""
        if self.variant == "block":
            blocks: Numeric = np.minimum(stored, self.budget + np.mod(stored, self.page))
            return blocks
        return np.minimum(stored - cache.generated, self.budget) + cache.generated

    def choice(self, group: CacheGroup, cache: Cache) -> Operator:
        """The host policy's scores, the signatures and their order, and the gather; none within the budget."""
        chosen = np.where(cache.prompt > self.budget, 1.0, 0.0)
        some = chosen if self.representatives else np.zeros_like(chosen)
        shape: Symbols = {"L": group.layers, "H": group.q_heads, "B": cache.batch, "S": cache.prompt, "x": some}
        terms = (
            *window_scores(group, cache, self.window, chosen, self.reference),
            term("signatures", "hbm", "2 * L * S * H / 8 * B * x", self.reference, **shape),
            term("distances to the anchor", "vector", "2 * L * S * H / 32 * B * x", "one exclusive or and one count of "
                 "bits for every 32 heads", **shape),
            term("sort tokens by distance", "hbm", "24 * L * S * B * x", "estimate: 4-byte key and 8-byte index, "
                 "read and written once", compulsory=False, L=group.layers, S=cache.prompt, B=cache.batch, x=some),
            self.gather(group, cache, chosen),
        )  # fmt: skip
        launches = group.layers * (CHOICE_LAUNCHES * chosen + 3 * some)
        return Operator(self.name, "choose representatives", "attention", terms, launches)
