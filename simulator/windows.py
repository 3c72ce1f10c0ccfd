"""Architectures whose full-attention layers get a window, all of them or all but every k-th."""

from __future__ import annotations

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.scheme import Scheme, forbid_no_tokens
from kvwall.workloads.model_spec import AttentionGroup, HeadAttention, ModelSpec


def windowed(model: ModelSpec, window: int, every: int | None) -> ModelSpec:
    """``model`` with a window of ``window`` tokens in its full-attention layers of heads.

    :param every: of so many layers one keeps seeing everything; ``None`` for none
    """
    groups: list[AttentionGroup] = []
    for group in model.attention:
        if isinstance(group, HeadAttention) and group.kind == "full":
            groups += _split(group, window, group.layers // every if every else 0)
        else:
            groups.append(group)
    return model.model_copy(update={"attention": tuple(groups)})


def _split(group: HeadAttention, window: int, whole: int) -> list[AttentionGroup]:
    """``whole`` layers of ``group`` as they are and the others local; layers that share caches stay in proportion."""
    owned = max(1, group.cached_layers * whole // group.layers) if whole else 0
    parts: list[AttentionGroup] = []
    if whole:
        parts.append(group.model_copy(update={"layers": whole, "kv_layers": owned}))
    if group.layers > whole:
        local = {"layers": group.layers - whole, "kv_layers": max(1, group.cached_layers - owned)}
        parts.append(group.model_copy(update={"kind": "sliding", "window": window, **local}))
    return parts


def forbid_no_full_heads(scheme: Scheme, model: ModelSpec) -> None:
    """Refuse a model without a layer whose heads see everything."""
    forbid_no_tokens(scheme, model)
    if not any(isinstance(group, HeadAttention) and group.kind == "full" for group in model.attention):
        raise ForbiddenError(
            f"scheme {scheme.name!r} does not apply to {model.name}: it has no full-attention layer of keys and values"
        )
