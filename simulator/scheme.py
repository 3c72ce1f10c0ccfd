"""What a scheme is: a frozen set of parameters and one method that rewrites a cache.

A scheme never computes time and never sees a machine. It says which axes of the cache it shrinks, what it needs of an
architecture, and from which paper its equations are. One that changes the network itself reshapes the model instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from kvwall.hardware.document import Document
from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.cache import Axis, Cache
from kvwall.workloads.model_spec import ModelSpec

#: Rewrites happen in this order whatever the order of the text: what is kept, in which form, what is read, and where;
#: then how the step is run.
AXIS_ORDER: tuple[Axis, ...] = (
    "shape", "layers", "channels", "tokens", "bits", "reads", "sequences", "place", "weights", "schedule",
)  # fmt: skip


class Scheme(Document):
    """Base of all schemes.

    :cvar name: as it is written in a stack
    :cvar title: one line of what it does
    :cvar axes: the axes of the cache it shrinks; two schemes of a stack may not shrink one axis
    :cvar equations: the equations of what is stored, read and computed
    :cvar reference: where they are from
    :cvar drops_after_prompt: what it drops is still whole until the last chunk of a prompt is prefilled
    :cvar excludes: schemes of other axes that it cannot be stacked with, and why
    :cvar excludes_axes: axes of other schemes that it cannot be stacked with, and why
    :cvar measured_with: schemes that it was published together with
    :cvar searched: of options that may be ``auto``, the value that changes least and the most radical; 0 and 1 unless
        told
    :cvar limits: where it does not apply and what is known to go wrong
    """

    name: ClassVar[str]
    title: ClassVar[str]
    axes: ClassVar[frozenset[Axis]]
    equations: ClassVar[tuple[str, ...]]
    reference: ClassVar[str]
    limits: ClassVar[tuple[str, ...]] = ()
    drops_after_prompt: ClassVar[bool] = False
    excludes: ClassVar[Mapping[str, str]] = {}
    excludes_axes: ClassVar[Mapping[Axis, str]] = {}
    measured_with: ClassVar[frozenset[str]] = frozenset()
    searched: ClassVar[Mapping[str, tuple[float, float]]] = {}

    def reshape(self, model: ModelSpec) -> ModelSpec:
        """The architecture as this scheme changes it, before any cache exists; most change nothing."""
        return model

    def rewrite(self, cache: Cache) -> Cache:
        """The cache as this scheme keeps it; one that only reshapes the model leaves it alone."""
        return cache

    def check(self, model: ModelSpec) -> None:
        """Refuse an architecture that the scheme cannot serve.

        :raises ForbiddenError: with the reason
        """

    @property
    def shrinks(self) -> frozenset[Axis]:
        """The axes that it shrinks with its options; those of the class unless an option adds one."""
        return self.axes

    @property
    def while_prefilling(self) -> Scheme | None:
        """How it acts until the last chunk of a prompt is prefilled; ``None`` where it only acts afterwards."""
        return None if self.drops_after_prompt else self

    @property
    def stage(self) -> int:
        """When the rewrite happens, by the first axis it shrinks."""
        return min((AXIS_ORDER.index(axis) for axis in self.shrinks), default=0)

    @property
    def text(self) -> str:
        """The scheme as it is written in a stack, with the options that were given."""
        options = self.model_dump(exclude_unset=True)
        written = ",".join(
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in options.items()
        )
        return f"{self.name}:{written}" if written else self.name


def forbid_latents(scheme: Scheme, model: ModelSpec, reason: str) -> None:
    """Refuse a model with multi-head latent attention."""
    if any(group.kind == "mla" for group in model.attention):
        raise ForbiddenError(f"scheme {scheme.name!r} does not apply to {model.name}: {reason}")


def forbid_no_tokens(scheme: Scheme, model: ModelSpec) -> None:
    """Refuse a model that caches no tokens at all (recurrent state only)."""
    if all(group.kind == "linear" for group in model.attention):
        raise ForbiddenError(f"scheme {scheme.name!r} does not apply to {model.name}: it caches no tokens")
