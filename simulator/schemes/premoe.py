"""PreMoe: only the experts that a task needs are kept; those of another task are loaded when it comes."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.cache import Axis, Cache
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.workloads.model_spec import ExpertFeedForward, FeedForwardGroup, ModelSpec


class PreMoe(Scheme):
    """Of the routed experts of each layer the ``keep`` part with the largest expected selection scores stays.

    With ``steps`` a new task comes after so many decode steps, and with it the experts that it needs and the last one
    did not: ``1 - keep`` of those kept, if tasks choose independently. By default one task lasts. Half of the experts
    is the setting at which the paper loses least.
    """

    name: ClassVar[str] = "premoe"
    title: ClassVar[str] = "experts pruned to those of a task, loaded when the task changes"
    axes: ClassVar[frozenset[Axis]] = frozenset({"shape"})
    equations: ClassVar[tuple[str, ...]] = (
        "E' = max(k, ceil(keep E)) experts stored a layer; a batch touches at most E'",
        "loaded a step: (1 - keep) / steps of the experts kept, over the host link",
    )
    reference: ClassVar[str] = "PreMoe 2025, expert pruning and retrieval, arXiv 2505.17639, abstract"
    limits: ClassVar[tuple[str, ...]] = (
        "an approximation: what the dropped experts would add is lost",
        "only for mixtures of experts; a batch of mixed tasks needs the experts of all",
    )

    keep: float = Field(0.5, gt=0, le=1)
    steps: int = Field(0, ge=0, le=1_000_000_000)

    def check(self, model: ModelSpec) -> None:
        """A mixture of experts."""
        forbid_no_tokens(self, model)
        if not any(isinstance(group, ExpertFeedForward) for group in model.feed_forward):
            raise ForbiddenError(f"scheme {self.name!r} does not apply to {model.name}: it has no experts to drop")

    def reshape(self, model: ModelSpec) -> ModelSpec:
        """The model with fewer experts."""
        return model.model_copy(update={"feed_forward": tuple(self._pruned(group) for group in model.feed_forward)})

    def rewrite(self, cache: Cache) -> Cache:
        """The cache is the same; experts of a new task cross the host link."""
        if not self.steps or cache.prefill:
            return cache
        return replace(cache, execution=replace(cache.execution, swapped_experts=(1.0 - self.keep) / self.steps))

    def _pruned(self, group: FeedForwardGroup) -> FeedForwardGroup:
        if not isinstance(group, ExpertFeedForward):
            return group
        kept = max(group.experts_per_token, int(-(-self.keep * group.experts // 1)))
        return group.model_copy(update={"experts": kept})
