"""The memory of one sequence on the fullest rank: whole blocks, windows, states and pages as engines keep them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from kvwall.simulator.cache import Place
from kvwall.simulator.dense import Paging
from kvwall.simulator.kept import kept_cache
from kvwall.simulator.pages import PageLayout, page_layout
from kvwall.simulator.setup import Setup
from kvwall.simulator.traffic import Array, Numeric
from kvwall.simulator.weights_memory import stage_share
from kvwall.workloads.model_spec import LinearState

#: Two contexts far beyond any window, whose difference is a multiple of any block or residual.
_FAR_TOKENS = 2.0**22
_STEP_TOKENS = 27_720 * 128.0


@dataclass(frozen=True)
class SequenceMemory:
    """What sequences of a setup occupy.

    :ivar setup: model, machine, engine and formats
    """

    setup: Setup

    @cached_property
    def layout(self) -> PageLayout | None:
        """Pages that layers of different kinds share; ``None`` where the engine or the model has none."""
        return page_layout(self.setup)

    @cached_property
    def paging(self) -> Paging:
        """Blocks, windows and state pages as the engine keeps them."""
        engine, layout = self.setup.engine, self.layout
        extra = float(self.setup.batched_tokens) if engine.swa_aware else float("inf")
        block, pages = self.setup.block, engine.state_pages_per_sequence
        if layout is not None and self.state_bytes:
            block = layout.smallest_block_tokens
            pages = layout.state_pages * layout.page_bytes / layout.largest_state_bytes
        return Paging(block, extra, pages, engine.window_spare_blocks)

    def sequence_bytes(
        self,
        context: Numeric,
        paging: Paging | None = None,
        sequences: Numeric = 1.0,
        place: Place = "hbm",
        verifying: bool = True,
    ) -> Array:
        """Memory in ``place`` of one of ``sequences`` requests of ``context`` tokens, on the fullest rank, in blocks.

        :param context: tokens per sequence
        :param paging: blocks to round to; the engine's unless given
        :param sequences: sequences on the rank, over which a shared prefix is spread
        :param place: device memory unless given
        :param verifying: with the slots of drafted tokens, their logits and the mask of their tree
        """
        s = self.setup
        draft = s.speculation if verifying else None
        tokens = context + draft.verified if draft else context
        cache = kept_cache(s.model, s.stack, sequences, tokens, paging or self.paging)
        total: Numeric = np.zeros(np.shape(context))
        for group in cache.groups:
            for tensor in group.tensors:
                share = tensor.share(s.deployment.attention_tp) / (1 if tensor.divisible else s.deployment.dcp)
                total = total + group.layers * share * tensor.stored_bytes(place)
        staged = total * stage_share(s.model.layers, s.deployment.pp)
        beside = cache.workspace + (draft.workspace_bytes(s.model.vocab_size / s.deployment.tp) if draft else 0.0)
        return np.asarray(s.model.guidance * (staged + (beside if place == "hbm" else 0.0)))

    @cached_property
    def bytes_per_token(self) -> float:
        """Marginal bytes of one more token of a long sequence on the fullest rank."""
        exact = Paging(1, self.paging.window_extra_tokens, self.paging.state_pages)
        ends = (_FAR_TOKENS, _FAR_TOKENS + _STEP_TOKENS)
        near, further = (self.sequence_bytes(far, exact, verifying=False) for far in ends)
        return float((further - near) / _STEP_TOKENS)

    @cached_property
    def bytes_per_sequence(self) -> float:
        """Bytes of a long sequence that do not depend on its length: windows, residuals, states."""
        exact = Paging(1, self.paging.window_extra_tokens, self.paging.state_pages)
        constant = float(self.sequence_bytes(_FAR_TOKENS, exact, verifying=False)) - self.bytes_per_token * _FAR_TOKENS
        return max(0.0, constant)

    @cached_property
    def grows_in_proportion(self) -> bool:
        """Whether a far context twice as long takes twice the bytes: a history of scores grows with its square."""
        near, far = (float(self.sequence_bytes(tokens)) for tokens in (_FAR_TOKENS, 2 * _FAR_TOKENS))
        return far <= 2.1 * near

    @cached_property
    def state_bytes(self) -> float:
        """Recurrent state of one sequence on the fullest rank."""
        d = self.setup.deployment
        groups = [group for group in self.setup.model.attention if isinstance(group, LinearState)]
        whole = sum(group.layers * group.state_bytes for group in groups)
        return whole / d.attention_tp * stage_share(self.setup.model.layers, d.pp)

    def prompt_extra_bytes(self, context: Numeric) -> Array:
        """What one sequence occupies while its prompt is prefilled, beyond what stays of it."""
        stack = self.setup.stack.during_prefill
        if stack == self.setup.stack:
            return np.zeros(())
        whole = SequenceMemory(replace(self.setup, stack=stack))
        return np.maximum(0.0, whole.sequence_bytes(context) - self.sequence_bytes(context))
