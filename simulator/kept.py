"""The cache that sequences occupy: the dense cache of a model after the rewrites of a stack."""

from __future__ import annotations

from functools import lru_cache

from kvwall.simulator.cache import Cache
from kvwall.simulator.dense import EXACT, Paging, dense_cache
from kvwall.simulator.stack import Stack
from kvwall.simulator.traffic import Numeric
from kvwall.workloads.model_spec import ModelSpec


def kept_cache(model: ModelSpec, stack: Stack, sequences: Numeric, context: Numeric, paging: Paging = EXACT) -> Cache:
    """What ``sequences`` sequences of ``context`` tokens keep under ``stack``.

    A plan asks for the same few lengths under every split and weight format, so those of one point are remembered.

    :param paging: blocks and pages of an engine; by default none
    """
    if isinstance(sequences, float) and isinstance(context, float):
        return _remembered(model, stack, sequences, context, paging)
    return stack.rewrite(dense_cache(model, sequences, context, paging=paging))


@lru_cache(maxsize=1024)
def _remembered(model: ModelSpec, stack: Stack, sequences: float, context: float, paging: Paging) -> Cache:
    return stack.rewrite(dense_cache(model, sequences, context, paging=paging))
