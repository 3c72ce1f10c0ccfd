"""TPI-LLM: tensor parallelism over weak devices that hold only a window of the weights."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from kvwall.simulator.cache import Axis, Cache
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.workloads.model_spec import ModelSpec


class TpiLlm(Scheme):
    """Every rank keeps its part of the weights on its drive and ``window`` blocks of them in memory.

    A layer has two blocks, attention and feed-forward; the memory scheduler loads the next block while earlier ones
    compute. Sums go by a star: a message to the master and one back, however many ranks. The default window is the
    code's, 2; published fp32 runs take ``--weights fp32``.
    """

    name: ClassVar[str] = "tpi_llm"
    title: ClassVar[str] = "edge tensor parallelism: a sliding window over weights on drives, star all-reduce"
    axes: ClassVar[frozenset[Axis]] = frozenset({"weights", "schedule"})
    equations: ClassVar[tuple[str, ...]] = (
        "weights in memory: window / 2 layers, embedding and head;  from the drive W bytes a step",
        "step = max(computation and all-reduces, loads)",
        "all-reduce: 2 messages of latency l, 2 (n - 1) D e bytes at the master",
    )
    reference: ClassVar[str] = "Li et al. 2024, TPI-LLM, arXiv 2410.00531, sections 3.3 and 3.4 and released code"
    limits: ClassVar[tuple[str, ...]] = (
        "a step reads all weights from the drive, so that small devices wait for it",
        "the table of the embedding and the head lie whole on the master in the released code",
    )

    window: int = Field(2, ge=2, le=10_000)

    def check(self, model: ModelSpec) -> None:
        """Any architecture that caches tokens."""
        forbid_no_tokens(self, model)

    def rewrite(self, cache: Cache) -> Cache:
        """The cache is the same; weights come from drives."""
        run = replace(
            cache.execution, weights_on_ssd=1.0, buffered_layers=self.window / 2.0, star_all_reduce=True
        )  # fmt: skip
        return replace(cache, execution=run)
