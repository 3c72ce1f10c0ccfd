"""Prompt in decoder: one document is encoded once, and several prompts about it are decoded side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from kvwall.simulator.cache import CONTENT_ROLES, Axis, Cache, CacheGroup, Tensor
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.simulator.sharing import cascaded, share_oldest
from kvwall.workloads.model_spec import ModelSpec


class Pid(Scheme):
    """Each ``prompts`` sequences of the batch ask about one document of ``document`` tokens, encoded once.

    The published models are encoder-decoders whose cross-attention cache of the document serves all prompts; here the
    document is the common beginning of the sequences, which is the same state in a decoder-only model: stored once per
    document, read once per document and step, and not prefilled again. A prefill is that of the prompts, over the
    encoded document; encoding it is a prefill of ``document`` tokens of batch / prompts sequences. The defaults are an
    example: a document of 1,024 tokens and five prompts (the slots of a dialogue state).
    """

    name: ClassVar[str] = "pid"
    title: ClassVar[str] = "one encoded document under several prompts (prompt in decoder)"
    axes: ClassVar[frozenset[Axis]] = frozenset({"sequences"})
    equations: ClassVar[tuple[str, ...]] = (
        "h = min(document, n - 1), U = min(prompts, B)",
        "stored = read = kv B [h / U + n - h]",
        "prefill computes n - h tokens over n; encoding: h tokens of B / U sequences",
        "FLOP per byte of the document: U times that of one sequence",
    )
    reference: ClassVar[str] = "Lu et al. 2024, Encode once and decode in parallel (PiD), arXiv 2403.13112, section 3"
    limits: ClassVar[tuple[str, ...]] = (
        "the published gain needs fine-tuning of an encoder-decoder on prompts in the decoder",
        "windows and recurrent states are not shared",
        "all prompts about a document must be decoded together",
    )

    document: int = Field(1024, ge=0, le=1_000_000_000)
    prompts: int = Field(5, ge=1, le=1_000_000)

    def check(self, model: ModelSpec) -> None:
        """Any architecture that caches tokens."""
        forbid_no_tokens(self, model)

    def rewrite(self, cache: Cache) -> Cache:
        """The document of every layer that still holds it is kept and read once for its prompts."""
        hit = np.minimum(self.document, np.maximum(cache.context - 1, 0))
        sharers = np.minimum(self.prompts, cache.resident)
        readers = np.minimum(self.prompts, np.maximum(cache.batch, 1.0))

        def share(group: CacheGroup, tensor: Tensor) -> Tensor:
            if group.kind in {"sliding", "chunked", "linear"}:
                return tensor
            return share_oldest(tensor, hit, sharers, readers)

        shared = replace(cache.map_tensors(share, CONTENT_ROLES), shared_prefix=hit)
        if cache.prefill:
            return replace(shared, query_tokens=np.minimum(cache.query_tokens, cache.context - hit))
        return cascaded(shared, self.name) if self.document else shared
