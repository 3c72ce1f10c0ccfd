"""Rotary position embedding, halves rotated against each other."""

from __future__ import annotations

import torch


def rotate(keys: torch.Tensor, base: float) -> torch.Tensor:
    """``keys`` (``[..., tokens, d]``) turned by their positions 0, 1, ..., in their own dtype.

    RoFormer (arXiv 2104.09864): channel i of a half turns by ``position * base^(-2i/d)``.
    """
    tokens, d = keys.shape[-2:]
    exponents = torch.arange(0, d, 2, device=keys.device, dtype=torch.float64) / d
    angle = torch.arange(tokens, device=keys.device, dtype=torch.float64)[:, None] * base**-exponents
    cosine, sine = angle.cos().to(keys.dtype), angle.sin().to(keys.dtype)
    first, second = keys[..., : d // 2], keys[..., d // 2 :]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
