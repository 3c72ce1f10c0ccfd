"""Nexus: prefill and decode side by side on one device, each on its own multiprocessors."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from kvwall.simulator.cache import Axis, Cache
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.workloads.model_spec import ModelSpec


class Nexus(Scheme):
    """The phase that is asked about has ``compute`` of the multiprocessors and ``memory`` of the bandwidth.

    The other phase has the rest, at the same time. What bandwidth a decode keeps beside a prefill is a matter of the
    bytes of both (see ``kvwall.simulator.cost_models.nexus``); half is what equal demands leave.
    """

    name: ClassVar[str] = "nexus"
    title: ClassVar[str] = "prefill and decode share a device by multiprocessors"
    axes: ClassVar[frozenset[Axis]] = frozenset({"schedule"})
    equations: ClassVar[tuple[str, ...]] = (
        "t = FLOP / (compute C), t = bytes / (memory BW), per kernel the longest",
        "BW_decode / BW = P m_d / (m_d + m_a) + (1 - P) m_d / (m_d + m_w)",
    )
    reference: ClassVar[str] = "Shi et al. 2025, Nexus, arXiv 2507.06608, section 4"
    limits: ClassVar[tuple[str, ...]] = (
        "kernels that cannot fill their multiprocessors lose less than their share",
        "a step reads the weights once per phase: two concurrent phases read them twice",
        "the data sheet's bound is that of the whole device",
    )

    compute: float = Field(0.5, gt=0, le=1)
    memory: float = Field(0.5, gt=0, le=1)

    def check(self, model: ModelSpec) -> None:
        """Any architecture that caches tokens."""
        forbid_no_tokens(self, model)

    def rewrite(self, cache: Cache) -> Cache:
        """The cache is the same; the step has a part of the device."""
        run = replace(cache.execution, compute_share=self.compute, memory_share=self.memory)
        return replace(cache, execution=run)
