"""Sliding window: every full-attention layer sees the last tokens only, as if the model had been built so."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from kvwall.simulator.cache import Axis
from kvwall.simulator.scheme import Scheme
from kvwall.simulator.windows import forbid_no_full_heads, windowed
from kvwall.workloads.model_spec import ModelSpec


class Sliding(Scheme):
    """All full-attention layers get a window of ``window`` tokens (default: Mistral-7B-v0.1)."""

    name: ClassVar[str] = "sliding"
    title: ClassVar[str] = "a sliding window in every full-attention layer"
    axes: ClassVar[frozenset[Axis]] = frozenset({"shape"})
    equations: ClassVar[tuple[str, ...]] = (
        "stored = read = B min(n, window) L 2 H_kv d 2 bytes",
        "a paged engine keeps ceil(min(window - 1 + pass, n) / page) + 1 pages of a layer and sequence",
    )
    reference: ClassVar[str] = "Jiang et al. 2023, Mistral 7B, arXiv 2310.06825, section 2; Beltagy et al. 2020"
    limits: ClassVar[tuple[str, ...]] = (
        "a model must be trained with the window",
        "engines without a pool for windows keep such layers whole: computation is saved, memory is not",
        "a cached prefix helps only while the last window of its tokens is still there",
    )

    window: int = Field(4096, ge=1, le=100_000_000)

    def check(self, model: ModelSpec) -> None:
        """Any model with full-attention heads."""
        forbid_no_full_heads(self, model)

    def reshape(self, model: ModelSpec) -> ModelSpec:
        """No layer sees beyond the window."""
        return windowed(model, self.window, every=None)
