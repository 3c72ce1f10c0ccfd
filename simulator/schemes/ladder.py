"""Ladder residual: the all-reduce of a block runs while the next block computes."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from kvwall.simulator.cache import Axis, Cache
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.workloads.model_spec import ModelSpec


class Ladder(Scheme):
    """A block takes the residual stream without the output of the block before it, whose all-reduce so has time.

    The number and the size of the all-reduces stay. The model must be trained, or adapted, to this order.
    """

    name: ClassVar[str] = "ladder"
    title: ClassVar[str] = "ladder residual: tensor-parallel all-reduces hidden under the next block"
    axes: ClassVar[frozenset[Axis]] = frozenset({"schedule"})
    equations: ClassVar[tuple[str, ...]] = (
        "x_i = x_(i-1) + AR(h_(i-1)(x_(i-2)))",
        "step = max(all computation, all all-reduces), where one after the other they would add up",
    )
    reference: ClassVar[str] = "Zhang et al. 2025, Ladder-Residual, arXiv 2501.06589, section 3"
    limits: ClassVar[tuple[str, ...]] = (
        "changes the network: weights must be trained for it",
        "nothing to gain without tensor parallelism; dispatch to experts is still waited for",
        "interference of the collective's kernels with those of the block is not counted: the authors' runs leave a "
        "fifth to a third of the communication exposed",
    )

    def check(self, model: ModelSpec) -> None:
        """Any architecture that caches tokens."""
        forbid_no_tokens(self, model)

    def rewrite(self, cache: Cache) -> Cache:
        """The cache is the same; all-reduces move to a stream of their own."""
        return replace(cache, execution=replace(cache.execution, hidden_all_reduce=True))
