"""ShadowKV: low-rank keys and landmarks on the device, values on the host, the best chunks brought back each step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from kvwall.simulator.cache import Axis, Bits, Cache, CacheGroup, Segment, Tensor
from kvwall.simulator.scheme import Scheme, forbid_latents, forbid_no_tokens
from kvwall.simulator.traffic import Numeric, Operator, Symbols, term
from kvwall.workloads.model_spec import ModelSpec

#: The public code rounds the number of landmark chunks down to a multiple of this.
_CHUNK_STEP = 8
#: Tokens of a buffer for the last partial chunks and for what is generated.
_SLACK_TOKENS = 128.0
_INDEX = Bits("int64 index", payload=64.0)


class ShadowKV(Scheme):
    """Keys of a prompt become a product of rank ``rank``; chunks of ``chunk`` tokens are found by their mean key.

    Each step scores all landmarks, takes the best chunks of ``budget`` tokens for every KV head, fetches the values of
    those that the last step did not take (``1 - hit`` of them) from the host and rebuilds their keys meanwhile. Chunks
    that their mean describes worst (``outliers``; default 24 for every 1,024 tokens of budget), the last ``local``
    chunks and all generated tokens stay whole on the device. Defaults are those of the public code: rank 160, chunks of
    8, 2,048 tokens, 4 local chunks; the hit rate is the paper's mean.
    """

    name: ClassVar[str] = "shadowkv"
    title: ClassVar[str] = "low-rank keys on the device, values on the host, best chunks fetched in each step"
    axes: ClassVar[frozenset[Axis]] = frozenset({"channels", "tokens", "reads", "place"})
    equations: ClassVar[tuple[str, ...]] = (
        "landmarks p = floor((S / chunk - local) / 8) 8 - outliers,  t = budget + 128 + (outliers + local) chunk",
        "device = L [ S rank 2 + H_kv d rank 2 + p H_kv (2 d + 8) + t H_kv (d + d_v) 2 ] bytes a sequence",
        "host = L S H_kv d_v 2 bytes a sequence",
        "read: landmarks, (1 - hit) budget H_kv rows of rank, the factor, and budget + outliers chunk + local tokens",
        "host link: L (1 - hit) budget H_kv d_v 2 bytes; rebuild 2 L (1 - hit) budget H_kv rank d FLOP beside it",
        "prefill: an SVD of the keys, 2 L S n (n + rank) FLOP in fp32, n = H_kv d; values cross the link once",
    )
    reference: ClassVar[str] = "Sun et al. 2024, ShadowKV, arXiv 2410.21465, sections 4.1 and 4.2 and released code"
    limits: ClassVar[tuple[str, ...]] = (
        "short prompts lose: the buffers have one size, 10.6 MB a layer and sequence for 8 KV heads and 2,048 tokens",
        "no outliers below a budget of 1,024 tokens, as in the public code, unless they are stated",
        "half of the 16-bit cache must lie in pinned host memory",
        "factors belong to one prompt: a prefix is shared only as a whole, and a prompt is prefilled in one piece",
        "the hit rate depends on the text; 0.6 is a mean over tasks",
    )

    budget: int = Field(2048, ge=8, le=1_000_000_000)
    rank: int = Field(160, ge=1, le=100_000)
    chunk: int = Field(8, ge=1, le=4096)
    outliers: int | None = Field(None, ge=0, le=1_000_000)
    local: int = Field(4, ge=0, le=100_000)
    hit: float = Field(0.6, ge=0, le=1)

    @model_validator(mode="after")
    def _check_budget(self) -> ShadowKV:
        if self.budget % self.chunk:
            raise ValueError(f"budget {self.budget} is not a multiple of chunk {self.chunk}")
        return self

    def check(self, model: ModelSpec) -> None:
        """Any model with per-head keys."""
        forbid_no_tokens(self, model)
        forbid_latents(self, model, "its keys are low-rank already, and one latent serves keys and values")

    def rewrite(self, cache: Cache) -> Cache:
        """Full-attention layers keep factors, landmarks and buffers on the device and values on the host."""
        groups: list[CacheGroup] = []
        operators: list[tuple[int, Operator]] = []
        beside: list[tuple[int, Operator]] = []
        workspace: Numeric = 0.0
        for group in cache.groups:
            if group.kind != "full":
                groups.append(group)
                continue
            parts = self._parts(cache)
            groups.append(self._shadowed(group, parts))
            workspace = np.maximum(workspace, self._workspace(group, parts))
            if cache.prefill:
                operators.append((group.index, self._decompose(group, cache)))
            else:
                made = (self._choose(group, cache, parts), self._keep(group, cache, parts))
                operators += [(group.index, operator) for operator in made]
                beside.append((group.index, self._rebuild(group, cache, parts)))
        return replace(
            cache,
            groups=tuple(groups),
            operators=(*cache.operators, *operators),
            beside_copies=(*cache.beside_copies, *beside),
            workspace=cache.workspace + workspace,
            execution=replace(cache.execution, own_appends=True),
        ).noting(f"shadowkv: {self.hit:g} of the chosen chunks are those of the step before (a mean over tasks)")

    @property
    def _outliers(self) -> int:
        return 24 * (self.budget // 1024) if self.outliers is None else self.outliers

    def _parts(self, cache: Cache) -> _Parts:
        prompt, generated = cache.prompt, cache.generated
        chunks = np.maximum(0.0, np.floor((np.floor(prompt / self.chunk) - self.local) / _CHUNK_STEP) * _CHUNK_STEP)
        outliers = np.minimum(self._outliers, chunks)
        chosen = np.minimum(self.budget, (chunks - outliers) * self.chunk)
        near = prompt - chunks * self.chunk
        slack = np.maximum(_SLACK_TOKENS, near - self.local * self.chunk + generated)
        return _Parts(
            prompt=prompt,
            landmarks=chunks - outliers,
            chosen=chosen,
            missed=(1.0 - self.hit) * chosen,
            attended=chosen + outliers * self.chunk + near + generated,
            buffer=self.budget + slack + (self._outliers + self.local) * self.chunk,
        )

    def _shadowed(self, group: CacheGroup, parts: _Parts) -> CacheGroup:
        heads, key, value = group.kv_heads, group.head_dim, group.value_dim
        rows = np.minimum(parts.prompt, parts.missed * heads)

        def made_once(role: str, heads: int, channels: float, segment: Segment) -> Tensor:
            return Tensor(role, heads, channels, (segment,), owner=self.name, grows=False)  # type: ignore[arg-type]

        buffer = Segment("buffer", stored=parts.buffer, read=parts.attended)
        # What is fetched from the host lands in the buffer, from which attention reads it.
        values = replace(buffer, read=parts.attended - parts.missed)
        fetched = Segment("tokens", stored=parts.prompt, read=parts.missed, place="host")
        rank = np.float64(self.rank)
        tensors = (
            Tensor("key", heads, key, (buffer,), owner=self.name),
            Tensor("value", heads, value, (values,), owner=self.name),
            made_once("value", heads, value, fetched),
            made_once("latent", 0, self.rank, Segment("tokens", stored=parts.prompt, read=rows)),
            made_once("factor", heads, key, Segment("rank", stored=rank, read=rank)),
            made_once("landmark", heads, key, Segment("chunks", stored=parts.landmarks, read=parts.landmarks)),
            made_once("landmark", heads, 1, Segment("index", parts.landmarks, np.float64(0.0), _INDEX)),
        )
        return replace(group, tensors=tensors, attended=parts.attended, reads_known=False)

    def _choose(self, group: CacheGroup, cache: Cache, parts: _Parts) -> Operator:
        shape: Symbols = {
            "L": group.layers, "H": group.q_heads, "B": cache.batch, "m": cache.query_tokens, "p": parts.landmarks,
        }  # fmt: skip
        terms = (
            term("score landmarks", "matrix", "2 * L * H * d * B * m * p", self.reference, d=group.head_dim, **shape),
            term("move landmark scores", "hbm", "8 * L * H * B * m * p", self.reference, compulsory=False, **shape),
        )
        return Operator(self.name, "choose chunks", "attention", terms, launches=6 * group.layers)

    def _keep(self, group: CacheGroup, cache: Cache, parts: _Parts) -> Operator:
        """Hits move to their place in the buffer; all of them, in the worst case."""
        moved = term(
            "move hits", "hbm", "4 * L * H * (k + v) * B * (c - s)", self.reference, compulsory=False, L=group.layers,
            H=group.kv_heads, k=group.head_dim, v=group.value_dim, B=cache.batch, c=parts.chosen, s=parts.missed,
        )  # fmt: skip
        return Operator(self.name, "keep hits", "attention", (moved,), launches=2 * group.layers)

    def _rebuild(self, group: CacheGroup, cache: Cache, parts: _Parts) -> Operator:
        """Keys of missed chunks: each head gathers rows of its own, also those that another head has gathered."""
        heads, missed = group.kv_heads, parts.missed
        again = np.maximum(0.0, missed * heads - parts.prompt)
        shape: Symbols = {"L": group.layers, "B": cache.batch, "r": self.rank}
        key: Symbols = {"L": group.layers, "B": cache.batch, "H": heads, "d": group.head_dim, "s": missed}
        terms = (
            term("rebuild keys", "matrix", "2 * L * H * r * d * B * s", self.reference, r=self.rank, **key),
            term("rotate rebuilt keys", "vector", "3 * L * H * d * B * s", self.reference, **key),
            term("write rebuilt keys", "hbm", "2 * L * H * d * B * s", self.reference, compulsory=False, **key),
            term("gather rows again", "hbm", "2 * L * r * B * g", self.reference, compulsory=False, g=again, **shape),
        )
        return Operator(self.name, "rebuild keys", "attention", terms)

    def _decompose(self, group: CacheGroup, cache: Cache) -> Operator:
        """SVD of each prompt's keys, all heads side by side: their Gram matrix and the rows' projections."""
        svd = term(
            "decompose keys", "vector", "2 * L * B * S * n * (n + r)", self.reference, L=group.layers, B=cache.batch,
            S=cache.query_tokens, n=group.kv_heads * group.head_dim, r=self.rank,
        )  # fmt: skip
        return Operator(self.name, "SVD of the keys", "gemm", (svd,), launches=group.layers)

    def _workspace(self, group: CacheGroup, parts: _Parts) -> Numeric:
        """16-bit scores and probabilities of landmarks, and two staging copies of the chosen tokens."""
        scores = 4.0 * group.q_heads * parts.landmarks
        return scores + 4.0 * group.kv_heads * group.head_dim * self.budget


@dataclass(frozen=True, slots=True)
class _Parts:
    """Tokens and chunks of one sequence.

    :ivar landmarks: chunks that are found by their mean key
    :ivar chosen: tokens that a step takes by their landmarks
    :ivar missed: those of them that the step before did not take
    :ivar attended: chosen, outlier, local and generated tokens
    :ivar buffer: tokens of the device's buffers
    """

    prompt: Numeric
    landmarks: Numeric
    chosen: Numeric
    missed: Numeric
    attended: Numeric
    buffer: Numeric
