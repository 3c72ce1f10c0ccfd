"""MiKV: what an eviction policy would drop is kept in fewer bits instead."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from kvwall.simulator.cache import SIXTEEN_BITS, Axis, Bits, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.importance import split_by_importance
from kvwall.simulator.number_format import integer_bits
from kvwall.simulator.operators.prefill import causal_pairs
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.traffic import Numeric, Operator, Symbols, term
from kvwall.workloads.model_spec import ModelSpec

_SCORES = Bits("fp32", 32.0)
#: Queries at the end of a prompt by which SnapKV's policy chooses.
_WINDOW = 32


class Mikv(Scheme):
    """The part ``important`` of the tokens in ``high`` bits, the others in ``low`` bits, per-token asymmetric groups.

    Groups are half a head unless ``group`` says otherwise. ``policy=h2o`` sums attention per token and head at every
    step (fp32 scores, stored); ``snapkv`` chooses once, at the end of the prompt. The part holds at every step: a new
    token enters in ``high`` bits and an older one is written again in ``low`` bits. Queries are divided, and keys
    multiplied, by a balancer per channel.
    """

    name: ClassVar[str] = "mikv"
    title: ClassVar[str] = "two widths by importance: what a policy would drop is kept at 2 bits"
    axes: ClassVar[frozenset[Axis]] = frozenset({"bits"})
    equations: ClassVar[tuple[str, ...]] = (
        "b_eff = p (high + [high < 16] 32 / group) + (1 - p) (low + 32 / group)",
        "stored = read = B n L 2 H_kv d b_eff / 8  (+ 4 B n L H_kv of scores with policy=h2o)",
        "balancer: L H_kv d 2 bytes a sequence; h2o: L H_q n B additions, 4 L H_q n B bytes of column sums",
    )
    reference: ClassVar[str] = "Yang et al. 2024, No Token Left Behind (MiKV), arXiv 2402.18096, section 3"
    limits: ClassVar[tuple[str, ...]] = (
        "the cache still grows with the context; its floor is all tokens in the low bits",
        "h2o needs attention probabilities, which a plain flash kernel does not give",
        "2 bits without the balancer collapse",
        "not on latents (MLA): they have no per-head keys",
    )

    important: float = Field(0.2, ge=0, le=1)
    high: float = Field(16, ge=2, le=16)
    low: float = Field(2, ge=2, le=16)
    group: int | None = Field(None, ge=8, le=1024)
    policy: Literal["h2o", "snapkv"] = "h2o"

    @model_validator(mode="after")
    def _check_bits(self) -> Mikv:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} exceeds high {self.high:g}")
        return self

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "its latents have no per-head keys to balance")

    def rewrite(self, cache: Cache) -> Cache:
        """Two pools of tokens, their scores, and what a step does to keep them apart."""
        wide = self._bits(self.high)
        narrow = self._bits(self.low)

        def change(group: CacheGroup, tensor: Tensor) -> Tensor:
            def split(segment: Segment) -> tuple[Segment, Segment]:
                share = float(self.group or tensor.channels / 2)
                return split_by_importance(segment, self.important, _grouped(wide, share), _grouped(narrow, share))

            return tensor.map(split)

        groups = [g for g in cache.groups if g.kind != "linear"]
        work = self._prompt if cache.prefill else self._step
        operators = tuple((group.index, work(group, cache)) for group in groups)
        balancer = sum(2.0 * group.layers * group.kv_heads * group.head_dim for group in groups)
        split_cache = cache.map_tensors(change, frozenset({"key", "value"})).map_groups(self._with_scores)
        return replace(split_cache, operators=(*cache.operators, *operators), workspace=cache.workspace + balancer)

    @staticmethod
    def _bits(bits: float) -> Bits:
        return integer_bits(bits, 1.0, 16.0, 16.0)

    def _with_scores(self, group: CacheGroup) -> CacheGroup:
        if self.policy != "h2o" or group.kind == "linear":
            return group
        tokens = sum((s.stored for s in group.tensors[0].segments), start=np.float64(0.0))
        segment = Segment("tokens", stored=tokens, read=tokens, bits=_SCORES)
        scores = Tensor("scores", group.kv_heads, 1, (segment,), owner=self.name)
        return replace(group, tensors=(*group.tensors, scores))

    def _step(self, group: CacheGroup, cache: Cache) -> Operator:
        """Balance the queries, add up scores, write one token again in fewer bits; a second kernel and a merge."""
        shape: Symbols = {"L": group.layers, "B": cache.batch}
        tokens: Numeric = sum((s.stored for s in group.tensors[0].segments), start=np.float64(0.0))
        wide = self._bits(self.high).payload
        terms = [
            term("balance queries", "vector", "L * H * d * B * m", self.reference, compulsory=False,
                 H=group.q_heads, d=group.head_dim, m=cache.query_tokens, **shape),
            term("read the token that leaves", "hbm", "(1 - p) * L * e * b / 8 * B * m", self.reference,
                 compulsory=False, p=self.important, e=group.kv_heads * (group.head_dim + group.value_dim), b=wide,
                 m=cache.query_tokens, **shape),
        ]  # fmt: skip
        if self.policy == "h2o":
            terms += [
                term("add up scores", "vector", "L * H * B * n", self.reference, compulsory=False, H=group.q_heads,
                     n=tokens, **shape),
                term("write column sums and scores", "hbm", "4 * L * (H + K) * B * n", self.reference,
                     compulsory=False, H=group.q_heads, K=group.kv_heads, n=tokens, **shape),
            ]  # fmt: skip
        return Operator(self.name, "keep two pools", "elementwise", tuple(terms), 3.0 * group.layers)

    def _prompt(self, group: CacheGroup, cache: Cache) -> Operator:
        """Rank the prompt: a second pass of scores, of all queries or of the last ones, and the channels' maxima."""
        shape: Symbols = {"L": group.layers, "B": cache.batch, "d": group.head_dim}
        asked = cache.query_tokens if self.policy == "h2o" else np.minimum(_WINDOW, cache.query_tokens)
        pairs = causal_pairs(asked, cache.context, group.window)
        terms = (
            term("score the prompt again", "matrix", "2 * L * H * d * B * P", self.reference, compulsory=False,
                 H=group.q_heads, P=pairs, **shape),
            term("find the balancer", "vector", "L * (H + K) * d * B * m", self.reference, compulsory=False,
                 H=group.q_heads, K=group.kv_heads, m=cache.query_tokens, **shape),
        )  # fmt: skip
        return Operator(self.name, "rank the prompt", "attention", terms, 3.0 * group.layers)


def _grouped(bits: Bits, share: float) -> Bits:
    """``bits`` with one scale and zero point per ``share`` channels; 16 bits need neither."""
    return bits if bits == SIXTEEN_BITS else replace(bits, group=share)
