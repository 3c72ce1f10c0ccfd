"""Schemes for visual autoregressive models, which make an image scale by scale and attend to all earlier scales."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.cache import Cache, CacheGroup, Segment
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.simulator.traffic import Numeric, Term, term
from kvwall.workloads.model_spec import ModelSpec


def forbid_text(scheme: Scheme, model: ModelSpec) -> None:
    """Refuse a model that generates token by token."""
    forbid_no_tokens(scheme, model)
    if not model.scales:
        raise ForbiddenError(
            f"scheme {scheme.name!r} does not apply to {model.name}: it is for visual models that make scale by scale"
        )


def keeping(group: CacheGroup, tokens: Numeric) -> CacheGroup:
    """``group`` with ``tokens`` of the earlier scales kept and read; a new scale sees them and itself."""

    def cut(segment: Segment) -> Segment:
        return replace(segment, stored=tokens, read=np.minimum(segment.read, tokens))

    dropped = group.tensors[0].segments[0].stored - tokens
    tensors = tuple(tensor.map(cut) for tensor in group.tensors)
    return replace(group, tensors=tensors, attended=group.attended - dropped)


def cached_tokens(group: CacheGroup) -> Numeric:
    """Tokens of the earlier scales."""
    return group.tensors[0].segments[0].stored


def gather(group: CacheGroup, cache: Cache, chosen: Numeric, reference: str) -> Term:
    """Rows that stay after a scale: read and written in their own number formats."""
    row = sum(tensor.elements * tensor.segments[0].bits.effective / 8 for tensor in group.tensors)
    return term(
        "gather kept tokens", "hbm", "2 * L * r * k * B * x", reference, compulsory=False, L=group.layers, r=row,
        k=cached_tokens(group), B=cache.batch, x=chosen,
    )  # fmt: skip
