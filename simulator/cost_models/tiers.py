"""Load or compute again: when a tier behind the device pays (LMCache; CacheBlend, arXiv 2405.16444, section 5)."""

from __future__ import annotations


def load_s_per_token(cached_bytes: float, bandwidth: float) -> float:
    """Seconds to bring the keys and values of a token of ``cached_bytes`` over a link."""
    return cached_bytes / bandwidth


def prefill_s_per_token(parameters: float, flops_per_s: float) -> float:
    """Seconds to compute a token again, without attention: ``2 P / C``."""
    return 2.0 * parameters / flops_per_s


def worth_loading(cached_bytes: float, bandwidth: float, parameters: float, flops_per_s: float) -> bool:
    """Whether a token is loaded sooner than it is computed."""
    return load_s_per_token(cached_bytes, bandwidth) < prefill_s_per_token(parameters, flops_per_s)


def hidden_recompute_ratio(load_s: float, prefill_s: float, layers: int, check_part: float, least: float) -> float:
    """CacheBlend's controller: the largest part of tokens whose computation the load of all hides.

    Solves ``(1 + c + (1 - c) r + (L - 2) r) / L T_prefill = T_load`` for ``r``, between ``least`` and 1.
    """
    ratio = (layers * load_s / prefill_s - 1.0 - check_part) / (layers - 1.0 - check_part)
    return min(1.0, max(least, ratio))
