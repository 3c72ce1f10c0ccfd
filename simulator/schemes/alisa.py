"""ALISA: sparse window attention over a cache that spills to the host and is in part deleted and computed again."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import CONTENT_ROLES, Axis, Bits, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.number_format import integer_bits
from kvwall.simulator.page_choice import stored_tokens
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.segments import split_newest
from kvwall.simulator.traffic import Numeric, Operator, Symbols, Term, term
from kvwall.workloads.model_spec import ModelSpec


class Alisa(Scheme):
    """Attend to ``keep`` of the tokens: one half the newest, the other those of largest local attention sums.

    One set serves all heads of a layer. Defaults are the paper's: a fifth of the tokens, keys and values in 8-bit
    integers with one scale a channel. Its three phases are a state: nothing ``away`` (I), a part of the older tokens in
    host memory (II, ``auto``: the part of the shortest step that fits), and of those a part ``deleted`` and computed
    again from the inputs of its layer when it is chosen (III). ``history`` is how the local sums over the last
    ``keep n / 2`` steps are kept: all weights, those that were attended, or one running sum.
    """

    name: ClassVar[str] = "alisa"
    title: ClassVar[str] = "sparse window attention; older tokens on the host, in part computed again"
    axes: ClassVar[frozenset[Axis]] = frozenset({"reads", "place"})
    equations: ClassVar[tuple[str, ...]] = (
        "h = round(keep n / 2): newest tokens on the device, and as many chosen among the n - h older ones",
        "stored = B (n - deleted away (n - h)) kv, of which away (1 - deleted) (n - h) on the host",
        "read = 2 B h kv (without the deleted), over the host link B h away (1 - deleted) kv, never prefetched",
        "computed again: B h away deleted 2 D 2 H_kv d L FLOP",
        "local sums: B L h n 2 bytes dense, B L 12 h^2 sparse, B L 4 n as a running sum, read at every step",
    )
    reference: ClassVar[str] = "Zhao et al. 2024, ALISA, arXiv 2403.17312, sections IV and V"
    limits: ClassVar[tuple[str, ...]] = (
        "nothing stored shrinks with the sparsity: the device's part depends on away and deleted only",
        "a dense history outgrows the cache itself at long contexts",
        "the choice waits for the step's weights, so that loads and recomputation add to the step",
        "computing again takes the layer's inputs to be at hand, which the paper does not say",
    )

    keep: float = Field(0.2, gt=0, le=1)
    bits: Literal["8", "16", 8, 16] = 8
    away: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = 0.0
    deleted: float = Field(0.0, ge=0, le=1)
    history: Literal["dense", "sparse", "running_sum"] = "dense"

    @property
    def shrinks(self) -> frozenset[Axis]:
        """Number formats as well, unless the cache stays in 16 bits."""
        return self.axes if int(self.bits) == 16 else self.axes | {"bits"}

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "its sums and its recomputation are of per-head keys and values")

    def rewrite(self, cache: Cache) -> Cache:
        """Full-attention layers: newest tokens, older ones on the device and on the host, and the work of choosing."""
        groups: list[CacheGroup] = []
        operators: list[tuple[int, Operator]] = []
        history: Numeric = np.float64(0.0)
        for group in cache.groups:
            if group.kind != "full":
                groups.append(group)
                continue
            tokens = stored_tokens(group)
            half = np.maximum(np.round(self.keep * tokens / 2), np.minimum(tokens, 1.0))
            groups.append(self._placed(group, tokens, half))
            history = history + group.layers * self._history_bytes(tokens, half)
            if not cache.prefill:
                operators += [(group.index, o) for o in self._work(group, cache, tokens, half)]
        return replace(
            cache, groups=tuple(groups), operators=(*cache.operators, *operators), workspace=cache.workspace + history
        ).noting(f"alisa: the {self.history} history of weights is workspace beside the cache, not a part of it")

    @property
    def _away(self) -> float:
        return 0.0 if self.away == "auto" else self.away

    def _chosen(self, tokens: Numeric, half: Numeric) -> Numeric:
        """Older tokens that a step attends to."""
        return np.minimum(half, tokens - half)

    def _placed(self, group: CacheGroup, tokens: Numeric, half: Numeric) -> CacheGroup:
        older = tokens - half
        part = np.divide(self._chosen(tokens, half), older, out=np.zeros(np.shape(older)), where=older > 0)
        bits = integer_bits(8.0, 0.0, 0.0, 0.0) if int(self.bits) == 8 else None

        def split(tensor: Tensor) -> Tensor:
            if tensor.role not in CONTENT_ROLES:
                return tensor
            left: Numeric = half
            segments: list[Segment] = []
            for segment in reversed(tensor.segments):
                old, new = split_newest(segment, left, segment.label)
                left = left - new.stored
                segments += [replace(new, read=new.stored), *reversed(self._spilled(old, part))]
            return replace(tensor, segments=tuple(_in(bits, s) for s in reversed(segments)))

        attended = np.minimum(group.attended, half + self._chosen(tokens, half))
        tensors = tuple(split(tensor) for tensor in group.tensors)
        return replace(group, tensors=tensors, attended=attended, reads_known=False)

    def _spilled(self, old: Segment, part: Numeric) -> list[Segment]:
        """Older tokens, of which a step chooses ``part``: those on the host and those that stay on the device."""
        host = old.stored * self._away * (1 - self.deleted)
        stay = old.stored * (1 - self._away)
        segments = [replace(old, stored=stay, read=stay * part)]
        if self._away:
            segments.insert(0, replace(old, stored=host, read=host * part, place="host"))
        return segments

    def _history_bytes(self, tokens: Numeric, half: Numeric) -> Numeric:
        """Local sums of one sequence in one layer, summed over heads."""
        if self.history == "dense":
            return 2.0 * half * tokens
        return 12.0 * half * half if self.history == "sparse" else 4.0 * tokens

    def _work(self, group: CacheGroup, cache: Cache, tokens: Numeric, half: Numeric) -> list[Operator]:
        shape: Symbols = {"L": group.layers, "B": cache.batch}
        width = group.kv_heads * (group.head_dim + group.value_dim)
        chosen = self._chosen(tokens, half)
        moved = (2.0 if self.history == "running_sum" else 1.0) * self._history_bytes(tokens, half)
        adds = {"dense": half * tokens, "sparse": 2 * half * half, "running_sum": 2 * tokens}[self.history]
        terms: list[Term] = [
            term("local sums", "hbm", "L * s * B", self.reference, s=moved, **shape),
            term("add local sums", "vector", "L * a * B", self.reference, a=adds, **shape),
            term("move sums of tokens", "hbm", "12 * L * n * B", "fp32 sums, written once and read twice (estimate)",
                 compulsory=False, n=tokens, **shape),
            term("gather chosen tokens", "hbm", "2 * L * e * b / 8 * c * B", self.reference, compulsory=False, e=width,
                 b=float(self.bits), c=chosen, **shape),
        ]  # fmt: skip
        choice = Operator(self.name, "choose tokens", "attention", tuple(terms), 5.0 * group.layers)
        again = chosen * self._away * self.deleted
        if not self.deleted or not self._away:
            return [choice]
        recomputed = (
            term("compute deleted tokens again", "matrix", "2 * L * D * e * c * B", self.reference, D=group.hidden_size,
                 e=width, c=again, **shape),
            term("read projections", "hbm", "2 * L * D * e", self.reference, L=group.layers, D=group.hidden_size,
                 e=width),
        )  # fmt: skip
        return [choice, Operator(self.name, "compute deleted tokens again", "gemm", recomputed, 2.0 * group.layers)]


def _in(bits: Bits | None, segment: Segment) -> Segment:
    """``segment`` in a number format, or as it is."""
    return segment if bits is None else replace(segment, bits=bits)
