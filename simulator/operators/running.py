"""Layers that do not run for every token: the same operators for fewer rows, in a part of the steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from kvwall.simulator.cache import Cache
from kvwall.simulator.execution import EVERY_TOKEN, Run
from kvwall.simulator.traffic import Numeric, Operator, Term


def seen_by(cache: Cache, run: Run) -> Cache:
    """``cache`` as the layers of a group see it: their own new rows, and in a prefill their own positions."""
    if run is EVERY_TOKEN:
        return cache
    context = cache.context if run.context is None else run.context
    return replace(cache, query_tokens=cache.query_tokens * run.tokens, context=context)


def passes_of(passes: Numeric, run: Run) -> Numeric:
    """Passes of the engine that the layers of a group take part in: fewer where a prompt is fewer rows to them."""
    return passes if run is EVERY_TOKEN else np.minimum(passes, np.maximum(1.0, np.ceil(passes * run.tokens)))


def thinned(operators: Iterable[Operator], run: Run) -> list[Operator]:
    """``operators`` of a group of which a step runs ``run.share`` of the layers: so much of every amount and launch."""
    if np.ndim(run.share) == 0 and run.share == 1.0:
        return list(operators)
    return [_thinned(operator, run.share) for operator in operators]


def _thinned(operator: Operator, share: Numeric) -> Operator:
    return replace(
        operator,
        terms=tuple(_part(t, share) for t in operator.terms),
        launches=operator.launches * share,
        call=None if operator.call is None else replace(operator.call, count=operator.call.count * share),
        basis=None if operator.basis is None else _thinned(operator.basis, share),
    )


def _part(whole: Term, share: Numeric) -> Term:
    symbols = {**whole.symbols, "run": share}
    return replace(whole, amount=whole.amount * share, equation=f"run * ({whole.equation})", symbols=symbols)
