"""What kernels that stream factored weights compute again, tile by tile, because they keep nothing of full width."""

from __future__ import annotations

import numpy as np

from kvwall.simulator.cache import Cache
from kvwall.simulator.traffic import Numeric, Operator, term
from kvwall.workloads.model_spec import DenseFeedForward, HeadAttention, ModelSpec

_FLASH_SVD = "Shao et al. 2025, FlashSVD, arXiv 2508.01506, and released kernels: tiles of 64"
_TILE = 64.0


def streamed_again(model: ModelSpec, cache: Cache, share: float, ranks: Numeric) -> list[Operator]:
    """Work of a prefill beyond one product with each factor.

    Attention expands the keys and values of a head for every tile of query rows, ``2 S (r_k d + r_v d_v)`` each time;
    the feed-forward kernel expands the hidden row for every tile of output columns, ``2 r D_ff`` a token each time.

    :param share: part of the heads and of the hidden width that a rank has
    """
    factored = model.factored
    if factored is None or not factored.streamed or not cache.prefill:
        return []
    hidden, tokens = model.hidden_size, cache.batch * cache.query_tokens

    def rank(width: float) -> float:
        return factored.keep * hidden * width / (hidden + width)

    terms = []
    for group in model.attention:
        if isinstance(group, HeadAttention):
            row = rank(group.kv_heads * group.head_dim) * group.head_dim
            row += rank(group.kv_heads * group.value_dim) * group.value_dim
            again = np.ceil(cache.query_tokens / _TILE) - 1
            terms.append(
                term("expand keys and values again", "matrix", "2 * L * H * w * B * n * x * h", _FLASH_SVD,
                     L=group.layers, H=group.q_heads, w=row, B=cache.batch, n=cache.context, x=again, h=share)
            )  # fmt: skip
    for forward in model.feed_forward:
        if isinstance(forward, DenseFeedForward):
            terms.append(
                term("expand hidden rows again", "matrix", "2 * L * r * f * T * x * h", _FLASH_SVD,
                     L=forward.layers * (forward.matrices - 1), r=rank(forward.intermediate_size),
                     f=forward.intermediate_size, T=tokens, x=np.ceil(hidden / _TILE) - 1, h=share)
            )  # fmt: skip
    return [Operator("weights", "expand factors again", "gemm", tuple(terms), ranks=ranks)] if terms else []
