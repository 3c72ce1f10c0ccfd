"""SkipDecode: the later a token, the fewer layers it passes, alike for all sequences of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.cache import CONTENT_ROLES, Axis, Cache, CacheGroup, Tensor
from kvwall.simulator.execution import Run
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.simulator.segments import part_of
from kvwall.simulator.traffic import Array
from kvwall.workloads.model_spec import ModelSpec


class SkipDecode(Scheme):
    """A token ``t`` of the answer passes ``a(t)`` of the layers, from ``first`` down to ``last`` at ``horizon`` tokens.

    The layers skipped are the lower-middle ones, always a superset of those skipped before, so that every key and
    value that a layer needs exists. The prompt passes as many layers as the first token. The published schedules tie
    both ends to a target speed-up (2 to 5 times); the defaults here, all layers down to a fifth of them over 256
    tokens, are an example of such a schedule.
    """

    name: ClassVar[str] = "skipdecode"
    title: ClassVar[str] = "fewer layers for later tokens, alike over the batch"
    axes: ClassVar[frozenset[Axis]] = frozenset({"layers"})
    equations: ClassVar[tuple[str, ...]] = (
        "a(t) = first - (first - last) min(1, t / horizon)",
        "read = a(t) L B n kv, written = a(t) L B kv, weights read = a(t) of the layers",
        "stored = B L kv [first S + a(0) + ... + a(t - 1)]",
        "speed-up of the layers = 1 / mean a",
    )
    reference: ClassVar[str] = "Del Corro et al. 2023, SkipDecode, arXiv 2307.02628, section 3"
    limits: ClassVar[tuple[str, ...]] = (
        "the network is fine-tuned for its schedule and for an expected length",
        "sequences at different positions (continuous batching) pay the layers of the earliest",
        "numbers of layers are not rounded: a step stands for the mean of its neighbours",
        "the linear schedule is the common reading of a monotone one",
    )
    excludes: ClassVar[Mapping[str, str]] = {
        "quest": "its dense layers are chosen for a network of which every layer runs",
        "xquant_cl": "it adds up differences of neighbouring layers, some of which do not run",
    }

    first: float = Field(1.0, gt=0, le=1)
    last: float = Field(0.2, gt=0, le=1)
    horizon: int = Field(256, ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _check_order(self) -> SkipDecode:
        if self.last > self.first:
            raise ValueError(f"last {self.last:g} exceeds first {self.first:g}: later tokens pass fewer layers")
        return self

    def check(self, model: ModelSpec) -> None:
        """Any architecture that caches tokens in every layer."""
        forbid_no_tokens(self, model)
        if any(group.kind == "linear" for group in model.attention):
            raise ForbiddenError(
                f"scheme {self.name!r} does not apply to {model.name}: a recurrent state must see every token"
            )

    def _share(self, generated: Array) -> Array:
        """Part of the layers that the token after ``generated`` others passes."""
        return np.asarray(self.first - (self.first - self.last) * np.minimum(1.0, generated / self.horizon))

    def _passed(self, generated: Array) -> Array:
        """Tokens of the answer that a layer has seen, as a mean over the layers: the sum of ``a`` so far."""
        ramp = np.minimum(generated, self.horizon)
        falling = (self.first - self.last) * ramp * np.maximum(ramp - 1, 0.0) / 2 / self.horizon
        return np.asarray(self.first * ramp - falling + self.last * (generated - ramp))

    def rewrite(self, cache: Cache) -> Cache:
        """What layers hold as a mean over them, and the part of them that runs."""
        share = self._share(np.zeros(()) if cache.prefill else cache.generated)
        # A layer that runs sees every token: those before passed all the layers that are left.
        held = part_of(self.first * cache.prompt + self._passed(cache.generated), cache.context)

        def skip(group: CacheGroup, tensor: Tensor) -> Tensor:
            if group.kind in {"sliding", "chunked"}:
                return tensor  # a window is full in every layer that ever ran
            return tensor.map(lambda s: replace(s, stored=s.stored * held))

        run = (Run(share=share),)
        execution = replace(cache.execution, attention_runs=run, feed_forward_runs=run)
        return replace(cache.map_tensors(skip, CONTENT_ROLES), execution=execution)
