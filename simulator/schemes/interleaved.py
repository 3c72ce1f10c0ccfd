"""Interleaved windows: local layers with a window, every k-th layer global."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from kvwall.simulator.cache import Axis
from kvwall.simulator.scheme import Scheme
from kvwall.simulator.windows import forbid_no_full_heads, windowed
from kvwall.workloads.model_spec import ModelSpec


class Interleaved(Scheme):
    """Of ``every`` full-attention layers one stays as it is and the others see ``window`` tokens (default: Gemma 3)."""

    name: ClassVar[str] = "interleaved"
    title: ClassVar[str] = "local layers with a window between layers that see everything"
    axes: ClassVar[frozenset[Axis]] = frozenset({"shape"})
    equations: ClassVar[tuple[str, ...]] = (
        "L_g = floor(L / every) layers see everything, L_l = L - L_g a window",
        "stored = read = B (L_g n + L_l min(n, window)) 2 H_kv d 2 bytes",
    )
    reference: ClassVar[str] = "Gemma Team 2025, Gemma 3, arXiv 2503.19786, section 2"
    limits: ClassVar[tuple[str, ...]] = (
        "a model must be trained with the pattern",
        "engines without a pool for windows keep local layers whole: computation is saved, memory is not",
        "evictions then only gain in the global layers",
    )

    window: int = Field(1024, ge=1, le=100_000_000)
    every: int = Field(6, ge=2, le=10_000)

    def check(self, model: ModelSpec) -> None:
        """Any model with full-attention heads."""
        forbid_no_full_heads(self, model)

    def reshape(self, model: ModelSpec) -> ModelSpec:
        """Local layers beside the global ones."""
        return windowed(model, self.window, self.every)
