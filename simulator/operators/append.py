"""What an engine pays to append a token to its cache where it has no room set aside: it copies the whole cache."""

from __future__ import annotations

import numpy as np

from kvwall.simulator.cache import Cache
from kvwall.simulator.operators.split import Split
from kvwall.simulator.traffic import Numeric, Operator, Term, term

_CAT = "transformers, cache_utils.py: torch.cat of the cached tensor and the new token, a new tensor every step"


def concatenations(cache: Cache, split: Split) -> list[Operator]:
    """The copies of one decode step: every tensor that grows is read and written once more, in all its layers.

    Attention writes the new token itself. There are none where the code of a scheme appends in its own way.
    """
    if cache.prefill or cache.execution.own_appends:
        return []
    terms: list[Term] = []
    launches: Numeric = np.float64(0.0)
    for group in (g for g in cache.groups if g.kind != "linear"):
        layers = group.layers * cache.execution.attention_run(group.index).share
        for tensor in (t for t in group.tensors if t.grows):
            here = [segment for segment in tensor.segments if segment.place == "hbm"]
            launches = launches + (layers if here else 0.0)
            terms += [
                term(f"copy {tensor.role}", "hbm", "2 * L * e * b / 8 * B * n", _CAT, compulsory=False,
                     L=layers, e=split.elements(tensor), b=s.bits.effective, B=cache.batch, n=s.stored)
                for s in here
            ]  # fmt: skip
    made = Operator("attention", "append by copying", "elementwise", tuple(terms), launches, ranks=split.ranks)
    return [made] if terms else []
