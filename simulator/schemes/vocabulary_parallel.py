"""Vocabulary parallelism: embedding and LM head cut over the stages of a pipeline."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from kvwall.simulator.cache import Axis, Cache
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.workloads.model_spec import ModelSpec


class VocabularyParallel(Scheme):
    """Each of the ``p`` stages holds and multiplies ``V / p`` rows of both tables, and the stages join their softmax.

    Without it the first stage holds the embedding, and all parts of a batch wait for the head of the last.
    """

    name: ClassVar[str] = "vocabulary_parallel"
    title: ClassVar[str] = "embedding and LM head split over the stages of a pipeline"
    axes: ClassVar[frozenset[Axis]] = frozenset({"weights"})
    equations: ClassVar[tuple[str, ...]] = (
        "held by a stage: (V D + V D) e / p instead of V D e on both ends",
        "round of m microbatches: m (T / p + head / p) instead of m (T / p + head)",
        "one hidden state to every stage, and two fp32 numbers a row to join",
    )
    reference: ClassVar[str] = (
        "Yeung et al. 2024, Balancing Pipeline Parallelism with Vocabulary Parallelism, arXiv 2411.05288"
    )
    limits: ClassVar[tuple[str, ...]] = (
        "nothing to gain without a pipeline, little where the vocabulary is small",
        "published for training; serving engines keep the tables on the ends",
    )

    def check(self, model: ModelSpec) -> None:
        """Any architecture that caches tokens."""
        forbid_no_tokens(self, model)

    def rewrite(self, cache: Cache) -> Cache:
        """The cache is the same; the tables are cut."""
        return replace(cache, execution=replace(cache.execution, split_vocabulary=True))
