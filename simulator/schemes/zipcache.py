"""ZipCache: salient tokens at 4 bits, the others at 2, scales apart for channels and tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from kvwall.simulator.cache import Axis, Bits, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.importance import split_by_importance
from kvwall.simulator.number_format import integer_bits
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.segments import split_newest
from kvwall.simulator.traffic import Numeric, Operator, Symbols, term
from kvwall.workloads.model_spec import ModelSpec

_SCALES = Bits("a minimum and a step", 32.0)


class ZipCache(Scheme):
    """The part ``important`` of the tokens in ``high`` bits, the others in ``low``; compressed every ``gap`` tokens.

    ``scales=channel_separable`` keeps one 16-bit scale per token for all channels of a tensor, and a minimum and a step
    per channel that are made once for a prompt; ``scales=head`` a scale and a zero point per token and head. Tokens
    that were generated since the last compression stay in 16 bits. Importance is the attention of ``probes`` of the
    prompt's queries, half of them the newest. ``kernel=public`` unpacks the whole cache to 16 bits in every step before
    ordinary attention, as the released code does: it saves memory and no time.
    """

    name: ClassVar[str] = "zipcache"
    title: ClassVar[str] = "salient tokens at 4 bits, the others at 2, channel-separable scales"
    axes: ClassVar[frozenset[Axis]] = frozenset({"bits"})
    equations: ClassVar[tuple[str, ...]] = (
        "stored = B L [ (n - w) 2 H_kv d (p high + (1 - p) low) / 8 + (n - w) 2 2 + w 2 H_kv d 2 ]"
        " + B L 2 H_kv d 4 of channel scales,  w = generated mod gap",
        "kernel=public moves 6 bytes more per element and step: a byte written and read, 16 bits written and read",
        "probes of a prompt: 2 L H_q d probes n n FLOP and their fp32 scores",
    )
    reference: ClassVar[str] = "He et al. 2024, ZipCache, arXiv 2405.14256, and released code (compress_class.py)"
    limits: ClassVar[tuple[str, ...]] = (
        "the released code reads more than a 16-bit cache in every step",
        "importance is told at the prompt's end and every gap tokens, not at every step",
        "not on latents (MLA): scores and channels are per head",
    )

    important: float = Field(0.6, ge=0, le=1)
    high: int = Field(4, ge=2, le=8)
    low: int = Field(2, ge=1, le=8)
    scales: Literal["channel_separable", "head"] = "channel_separable"
    gap: int = Field(100, ge=1, le=1_000_000)
    probes: float = Field(0.1, ge=0, le=1, description="queries that tell importance: part of the prompt")
    kernel: Literal["fused", "public"] = "fused"

    @model_validator(mode="after")
    def _check_bits(self) -> ZipCache:
        if self.low > self.high:
            raise ValueError(f"low {self.low} exceeds high {self.high}")
        return self

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "its latents have no per-head channels to scale")

    def rewrite(self, cache: Cache) -> Cache:
        """Two widths and a 16-bit window of what was generated since the last compression."""
        fresh = np.mod(cache.generated, self.gap)

        def change(group: CacheGroup, tensor: Tensor) -> Tensor:
            high, low = self._bits(tensor, self.high), self._bits(tensor, self.low)

            def split(segment: Segment) -> tuple[Segment, ...]:
                older, window = split_newest(segment, fresh, "window")
                return (*split_by_importance(older, self.important, high, low), window)

            return tensor.map(split)

        made = cache.map_tensors(change, frozenset({"key", "value"})).map_groups(self._with_scales)
        return self._with_work(cache, made)

    def _bits(self, tensor: Tensor, payload: int) -> Bits:
        if self.scales == "head":
            return integer_bits(float(payload), tensor.channels, 16.0, 16.0)
        return integer_bits(float(payload), tensor.elements, 16.0, 0.0)

    def _with_scales(self, group: CacheGroup) -> CacheGroup:
        if self.scales == "head" or group.kind == "linear":
            return group
        segment = Segment("channel scales", stored=np.float64(1.0), read=np.float64(1.0), bits=_SCALES)
        channels = group.head_dim + group.value_dim
        scales = Tensor("channel scales", group.kv_heads, channels, (segment,), owner=self.name, grows=False)
        return replace(group, tensors=(*group.tensors, scales))

    def _with_work(self, dense: Cache, made: Cache) -> Cache:
        """``made`` with the probes of a prompt, or with what a step does to compress and, in released code, unpack."""
        groups = [g for g in dense.groups if g.kind != "linear"]
        if dense.prefill:
            probing = [(g.index, self._probe(g, dense)) for g in groups]
            return replace(made, operators=(*made.operators, *probing))
        work = [(g.index, self._compress(g, dense)) for g in groups]
        if self.kernel == "public":
            work += [(g.index, self._unpack(g, dense)) for g in groups]
            made = replace(made, execution=replace(made.execution, own_appends=True))
        return replace(made, operators=(*made.operators, *work))

    def _probed(self, cache: Cache) -> Numeric:
        """Queries that tell importance."""
        return self.probes * cache.query_tokens

    def _probe(self, group: CacheGroup, cache: Cache) -> Operator:
        """Attention of the probes once more, and a sort of the prompt by what it says."""
        shape: Symbols = {"L": group.layers, "H": group.q_heads, "B": cache.batch, "P": self._probed(cache),
                          "n": cache.context}  # fmt: skip
        terms = (
            term("probe importance", "matrix", "2 * L * H * d * B * P * n", self.reference, compulsory=False,
                 d=group.head_dim, **shape),
            term("move probed scores", "hbm", "8 * L * H * B * P * n", f"{self.reference}: fp32, written and read once",
                 compulsory=False, **shape),
            term("softmax of probes", "vector", "5 * L * H * B * P * n", self.reference, compulsory=False, **shape),
        )  # fmt: skip
        return Operator(self.name, "probe importance", "attention", terms, 4.0 * group.layers)

    def _compress(self, group: CacheGroup, cache: Cache) -> Operator:
        """Every ``gap`` steps as many tokens are read in 16 bits; a step pays its part."""
        width = group.kv_heads * (group.head_dim + group.value_dim)
        read = term("read to compress", "hbm", "2 * L * e * B * m", self.reference, compulsory=False,
                    L=group.layers, e=width, B=cache.batch, m=cache.query_tokens)  # fmt: skip
        return Operator(self.name, "compress new tokens", "elementwise", (read,), 8.0 * group.layers / self.gap)

    def _unpack(self, group: CacheGroup, cache: Cache) -> Operator:
        tokens: Numeric = sum((s.stored for s in group.tensors[0].segments), start=np.float64(0.0))
        width = group.kv_heads * (group.head_dim + group.value_dim)
        staged = term("unpack the cache", "hbm", "6 * L * e * B * n", self.reference, compulsory=False,
                      L=group.layers, e=width, B=cache.batch, n=tokens)  # fmt: skip
        return Operator(self.name, "unpack the cache", "elementwise", (staged,), 8.0 * group.layers)
