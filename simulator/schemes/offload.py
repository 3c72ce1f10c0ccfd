"""Offload: keep a part of the cache in host memory or on drives, and attend to it from the device or the host."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from kvwall.simulator.cache import CONTENT_ROLES, Axis, Cache
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.simulator.segments import move_oldest
from kvwall.workloads.model_spec import ModelSpec


class Offload(Scheme):
    """The oldest ``fraction`` of what is stored lies in host memory (or on drives).

    ``attend=device`` streams it over the host link every step, layer by layer under the computation where the set is
    known; ``attend=host`` sends queries to the host's processors and gets outputs back, so the cache never crosses.
    """

    name: ClassVar[str] = "offload"
    title: ClassVar[str] = "part of the cache in host memory or on SSD, attended from the device or the host"
    axes: ClassVar[frozenset[Axis]] = frozenset({"place"})
    equations: ClassVar[tuple[str, ...]] = (
        "stored on the device = (1 - fraction) kv n B,  elsewhere = fraction kv n B",
        "attend=device: fraction kv n B over the host link each step (and from SSD)",
        "attend=host: B L (H_q + 2 H_kv) d 2 bytes out, B L H_q d 2 bytes in, fraction kv n B from DRAM",
    )
    reference: ClassVar[str] = "Sheng et al. 2023, FlexGen, arXiv 2303.06865, section 4"
    limits: ClassVar[tuple[str, ...]] = (
        "serving engines use such a tier for reuse: what a running sequence attends to must be on the device",
        "a choice of reads that needs the query (quest) cannot be prefetched",
    )

    to: Literal["host", "ssd"] = "host"
    fraction: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = 1.0
    attend: Literal["device", "host"] = "device"

    def check(self, model: ModelSpec) -> None:
        """Any architecture that caches tokens."""
        forbid_no_tokens(self, model)

    def rewrite(self, cache: Cache) -> Cache:
        """The oldest tokens of every content tensor move."""
        fraction = 1.0 if self.fraction == "auto" else self.fraction
        if not fraction:
            return cache

        return cache.map_tensors(lambda _, t: move_oldest(t, fraction, self.to, self.attend), CONTENT_ROLES)
