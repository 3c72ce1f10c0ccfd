"""Memory of one sample in GPT-NeoX of transformers, by hand."""

from __future__ import annotations

from kvwall.validate.quantities.sequences import eager_sample_bytes
from kvwall.validate.reproducing.point import point_of

WORDS = {
    "model": "pythia-410m", "on": "h100", "engine": "hf", "weights": "bf16", "scheme": "none", "batch": 1,
    "set": ["engine.attention=eager", "model.attention.0.fp32_keys=true"],
}  # fmt: skip
#: Elements of keys of one token: 24 layers of 1,024.
TOKEN = 24 * 1024


def test_a_long_answer_holds_its_cache_twice() -> None:
    """Appending copies: keys of 4 bytes and values of 2, before and after, of 128 + 2,048 tokens."""
    point = point_of(WORDS, {"input": 128, "output": 2048})
    assert eager_sample_bytes(point) == 2 * (4 + 2) * TOKEN * 2176


def test_a_long_prompt_holds_its_projections_and_scores() -> None:
    """Keys of 4 bytes, the fused projection of 3 x 2, and 16 heads' scores: masked, normal and rounded, 10 bytes."""
    point = point_of(WORDS, {"input": 2048, "output": 128})
    assert eager_sample_bytes(point) == (4 + 6) * TOKEN * 2048 + 10 * 16 * 2048**2


def test_blocks_have_scores_of_blocks() -> None:
    """Half the layers over 512 blocks: here the step after the prompt, of 16 bytes an element, holds more."""
    point = point_of(WORDS, {"input": 2048, "output": 128, "scheme": "block_transformer"})
    prompt = TOKEN / 2 * (512 + 6)
    whole = TOKEN / 2 * (544 + 6)
    assert eager_sample_bytes(point) == max(2 * 6 * whole, 10 * prompt + 10 * 16 * 512**2, 16 * prompt)
