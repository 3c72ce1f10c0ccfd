"""Recompute: the place that holds nothing. Keys and values are computed again in each step."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import Axis, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.operators.prefill import causal_pairs
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.segments import part_of, split_newest
from kvwall.simulator.traffic import Numeric, Operator, Symbols, term
from kvwall.workloads.model_spec import ModelSpec

#: Roles that are computed again.
_HEADS = frozenset({"key", "value"})


class Recompute(Scheme):
    """The oldest ``fraction`` of the tokens has no keys and values; ``source`` says what they are computed from.

    ``source=inputs`` keeps the 16-bit input of every layer and multiplies it by the key and value projections in each
    step. ``source=tokens`` keeps token numbers only and takes those tokens through the whole model once more: with
    ``fraction=1`` decoding without a cache, and after a window the sliding window that encodes itself anew.
    """

    name: ClassVar[str] = "recompute"
    title: ClassVar[str] = "keys and values computed again in each step, from layer inputs or from tokens"
    axes: ClassVar[frozenset[Axis]] = frozenset({"place"})
    equations: ClassVar[tuple[str, ...]] = (
        "x = fraction n tokens without keys and values;  inputs: stored = (n - x) kv + x L D 2 bytes",
        "inputs: 2 L D (H_kv (d + v)) B x FLOP a step, and the two projections read once more",
        "tokens: x more tokens through every layer, and x (x + 1) / 2 query-key pairs",
    )
    reference: ClassVar[str] = "Zhao et al. 2024, ALISA, arXiv 2403.17312, section 4: deletion and recomputation"
    limits: ClassVar[tuple[str, ...]] = (
        "layer inputs are larger than keys and values where few KV heads serve many queries (H_kv (d + v) < D)",
        "not on latents (MLA): the latent is such an input already",
    )

    fraction: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = 1.0
    source: Literal["inputs", "tokens"] = "inputs"

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys and values."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "its latent is what keys and values are rebuilt from already")

    def rewrite(self, cache: Cache) -> Cache:
        """The oldest tokens lose their keys and values; a decode step computes them again."""
        fraction = 1.0 if self.fraction == "auto" else self.fraction
        if not fraction:
            return cache
        groups: list[CacheGroup] = []
        operators: list[tuple[int, Operator]] = []
        longest: Numeric = np.float64(0.0)
        for group in cache.groups:
            if group.kind == "linear":
                groups.append(group)
                continue
            stored = sum((s.stored for s in group.tensors[0].segments), start=np.float64(0.0))
            gone = fraction * stored
            longest = np.maximum(longest, gone)
            groups.append(self._without(group, stored, gone))
            if not cache.prefill:
                operators.append((group.index, self._again(group, cache, gone, stored)))
        run = cache.execution
        if self.source == "tokens" and not cache.prefill:
            run = replace(run, repeated_tokens=run.repeated_tokens + longest)
        return replace(cache, groups=tuple(groups), operators=(*cache.operators, *operators), execution=run)

    def _without(self, group: CacheGroup, stored: Numeric, gone: Numeric) -> CacheGroup:
        """The group with keys and values of the newest tokens alone, and inputs of the others where they are kept."""
        part = part_of(stored - gone, stored)
        tensors = tuple(
            tensor.map(lambda s: split_newest(s, s.stored * part, s.label)[1]) if tensor.role in _HEADS else tensor
            for tensor in group.tensors
        )
        if self.source == "inputs":
            kept = Segment("tokens", stored=gone, read=gone)
            tensors = (*tensors, Tensor("layer input", 0, group.hidden_size, (kept,), owner=self.name, grows=False))
        return replace(group, tensors=tensors, attended=group.attended * part)

    def _again(self, group: CacheGroup, cache: Cache, gone: Numeric, stored: Numeric) -> Operator:
        """Keys and values of the tokens that are gone, and the step's attention to them."""
        width = group.kv_heads * (group.head_dim + group.value_dim)
        shape: Symbols = {"L": group.layers, "B": cache.batch, "x": gone}
        heads: Symbols = {"H": group.q_heads, "k": group.head_dim, "v": group.value_dim}
        seen = group.attended * part_of(gone, stored)
        shared = [
            term("attend to recomputed tokens", "matrix", "2 * L * H * (k + v) * B * m * x", self.reference,
                 m=cache.query_tokens, **heads, **{**shape, "x": seen}),
            term("hand on what was computed", "hbm", "4 * L * e * B * x", self.reference, compulsory=False,
                 e=width, **shape),
        ]  # fmt: skip
        if self.source == "tokens":
            pairs = causal_pairs(gone, gone, group.window)
            scores = term("scores among repeated tokens", "matrix", "2 * L * H * (k + v) * B * P", self.reference,
                          L=group.layers, B=cache.batch, P=pairs, **heads)  # fmt: skip
            return Operator("recompute", "attention of repeated tokens", "attention", (scores, *shared), group.layers)
        terms = (
            term("project again", "matrix", "2 * L * D * e * B * x", self.reference,
                 D=group.hidden_size, e=width, **shape),
            term("read projections again", "hbm", "2 * L * D * e", self.reference, compulsory=False, tally="weights",
                 L=group.layers, D=group.hidden_size, e=width),
            term("rotate again", "vector", "3 * L * H * d * B * x", self.reference, compulsory=False,
                 H=group.kv_heads, d=group.head_dim, **shape),
            *shared,
        )  # fmt: skip
        return Operator("recompute", "keys and values from inputs", "gemm", terms, 2 * group.layers)
