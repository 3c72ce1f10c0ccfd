"""FlexGen: weights, cache and activations split by percentages over device, host memory and drives."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from kvwall.simulator.cache import CONTENT_ROLES, Axis, Cache, CacheGroup, Tensor
from kvwall.simulator.number_format import QUANTISED_ROLES, integer_bits
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.simulator.segments import move_oldest
from kvwall.simulator.traffic import Numeric, Operator, Resource, Stream, Symbols, term
from kvwall.workloads.model_spec import ModelSpec

Percent = Annotated[float, Field(ge=0, le=100)]

#: Elements that share a 16-bit scale and minimum in the released compression.
_GROUP = 64.0


class FlexGen(Scheme):
    """The six percentages of the released ``--percent``: device and host memory; what is left lies on drives.

    ``wg``/``wc`` place weights, ``cg``/``cc`` the cache, ``hg``/``hc`` the activations between layers; a host
    percentage that is not given is all the rest. ``wg`` and ``cg`` may be ``auto``. The batch runs as ``blocks`` blocks
    of a zig-zag schedule: each layer's weights are loaded once for all of them. ``attend=host`` is ``--cpu``. With
    ``kv_bits=4`` groups of 64 share a scale and a minimum (the released compression; weights: ``--weights int4-g64``).
    By default the weights stay and the cache lies in host memory; the released default keeps everything on the device.
    """

    name: ClassVar[str] = "flexgen"
    title: ClassVar[str] = "weights, cache and activations over device, host and drives, zig-zag blocks"
    axes: ClassVar[frozenset[Axis]] = frozenset({"place", "weights", "schedule"})
    equations: ClassVar[tuple[str, ...]] = (
        "host link in: (1 - wg) W + (1 - cg) kv n B + (1 - hg) 2 L D B bytes a step (cache: attend=device)",
        "attend=host: B L (H_q + 2 H_kv) d 2 bytes out, B L H_q d 2 bytes in, (1 - cg) kv n B from DRAM",
        "device memory: wg W + 2 layers of the rest + cg kv n B + 2 layers of one block's cache",
        "kv_bits=4: 4 + 32 / 64 bits an element",
    )
    reference: ClassVar[str] = "Sheng et al. 2023, FlexGen, arXiv 2303.06865, section 4 and released code"
    limits: ClassVar[tuple[str, ...]] = (
        "for throughput at large batches: a step waits for the host link",
        "loads overlap with computation perfectly; the authors' own fit adds the loads of a decode step instead",
        "the host attends in fp32, whose workspace is not counted",
    )
    searched: ClassVar = {"wg": (100.0, 0.0), "cg": (100.0, 0.0)}

    wg: Percent | Literal["auto"] = 100.0
    wc: Percent | None = None
    cg: Percent | Literal["auto"] = 0.0
    cc: Percent | None = None
    hg: Percent = 100.0
    hc: Percent | None = None
    blocks: int = Field(1, ge=1, le=10_000)
    attend: Literal["device", "host"] = "device"
    kv_bits: Literal["4", "16", 4, 16] = 16

    @model_validator(mode="after")
    def _check_percentages(self) -> FlexGen:
        for what in "wch":
            on_device, on_host = self._given(f"{what}g"), self._given(f"{what}c")
            if on_device + on_host > 100:
                raise ValueError(f"{what}g and {what}c are {on_device:g} + {on_host:g}, more than 100 percent")
        return self

    @property
    def shrinks(self) -> frozenset[Axis]:
        """With codes for the cache also its bits."""
        return self.axes if float(self.kv_bits) >= 16 else self.axes | {"bits"}

    def check(self, model: ModelSpec) -> None:
        """Any architecture that caches tokens."""
        forbid_no_tokens(self, model)

    def rewrite(self, cache: Cache) -> Cache:
        """Content moves, oldest tokens first; weights and activations cross the host link beside the computation."""
        host, drives = self.away("c")
        if float(self.kv_bits) < 16:
            bits = integer_bits(float(self.kv_bits), _GROUP, 16.0, 16.0)
            cache = cache.map_tensors(lambda _, t: t.map(lambda s: replace(s, bits=bits)), QUANTISED_ROLES)
        if host + drives:
            cache = cache.map_tensors(lambda _, t: self._moved(t, host, drives), CONTENT_ROLES)
        on_host, on_drives = self.away("w")
        run = replace(
            cache.execution, weights_on_host=on_host, weights_on_ssd=on_drives, blocks=float(self.blocks)
        )  # fmt: skip
        staged = self._staged(cache) if self.attend == "device" else np.float64(0.0)
        return replace(
            cache,
            execution=run,
            operators=(*cache.operators, *self._activations(cache)),
            workspace=cache.workspace + staged / self.blocks,
        )

    def _given(self, key: str) -> float:
        value = getattr(self, key)
        return 0.0 if value in {None, "auto"} else float(value)

    def away(self, what: str) -> tuple[float, float]:
        """Parts of weights (w), cache (c) or activations (h) in host memory and on drives."""
        on_device, on_host = self._given(f"{what}g"), getattr(self, f"{what}c")
        host = 100.0 - on_device if on_host is None else on_host
        return host / 100.0, round(100.0 - on_device - host, 9) / 100.0

    def _moved(self, tensor: Tensor, host: float, drives: float) -> Tensor:
        moved = move_oldest(tensor, host + drives, "host", self.attend)
        return move_oldest(moved, drives, "ssd", self.attend) if drives else moved

    def _staged(self, cache: Cache) -> Numeric:
        """Bytes of a sequence's cache that two layers have in flight."""
        away = [s for g in cache.groups for t in g.tensors for s in t.segments if s.place != "hbm"]
        if not away:
            return np.float64(0.0)
        layers = sum(group.layers for group in cache.groups)
        return 2.0 / layers * (cache.stored_bytes("host") + cache.stored_bytes("ssd"))

    def _activations(self, cache: Cache) -> list[tuple[int, Operator]]:
        """Rows between two layers that wait elsewhere while other blocks pass: in and out once a layer."""
        host, drives = self.away("h")
        if not host + drives:
            return []
        return [
            (group.index, self._copy(group, cache, direction, drives, host + drives))
            for group in cache.groups
            for direction in ("in", "out")
        ]

    def _copy(self, group: CacheGroup, cache: Cache, way: str, drives: float, away: float) -> Operator:
        stream: Stream = "copy in" if way == "in" else "copy out"
        rows: Symbols = {"L": group.layers, "D": group.hidden_size, "B": cache.batch, "m": cache.query_tokens}
        equation = "2 * L * D * B * m * f"
        link: Resource = "host link in" if way == "in" else "host link out"
        terms = [term(f"move activations {way}", link, equation, self.reference, f=away, **rows)]
        if drives:
            terms.append(term(f"activations {way} of drives", "ssd", equation, self.reference, f=drives, **rows))
        return Operator("flexgen", f"activations {way}", "copy", tuple(terms), group.layers, stream)
