"""Pages of hybrid caches: the layouts by hand, and what vLLM printed of them."""

from __future__ import annotations

from typing import Any

import pytest

from kvwall.simulator.capacity import Capacity
from kvwall.simulator.inquiry import Inquiry, resolve
from kvwall.simulator.pages import PageLayout

GIB = 2.0**30


def _capacity(model: str, length: int, on: str = "b200", **options: Any) -> Capacity:
    return Capacity(resolve(Inquiry(model, on, max_model_len=length, **options)).setup, length)


def _layout(capacity: Capacity) -> PageLayout:
    assert capacity.layout is not None
    return capacity.layout


def test_a_block_grows_until_it_holds_a_state() -> None:
    # State of one layer 3,145,728 + 61,440 B; a token takes 2 x 4 x 256 x 2 = 4,096 B: 783.0 tokens, 784 in sixteens.
    # 16 full and 48 linear layers are 1 + 3 groups of 16. 8,192 tokens are 11 blocks, and 3 x 2 pages of state.
    layout = _layout(_capacity("qwen3.5-27b", 8192))
    assert layout.smallest_block_tokens == 784
    assert layout.page_bytes == 784 * 4096
    assert (layout.group_layers, layout.groups) == (16, 4)
    assert float(layout.request_blocks(8192)) == 11 + 6


def test_blocks_of_unequal_layers_are_equally_large() -> None:
    # Gemma 4 31B: full layers 2 x 4 x 512 x 2 = 8,192 B a token, windowed ones 2 x 16 x 256 x 2 = 16,384: blocks of 32
    # and 16. Ten full and fifty windowed layers are 1 + 5 groups of ten.
    layout = _layout(_capacity("gemma-4-31b", 131_072, max_batched_tokens=2048))
    assert sorted(kind.block_tokens for kind in layout.kinds) == [16, 32]
    assert layout.groups == 6
    # 131,072 / 32 = 4,096 and 5 x (ceil((1,023 + 2,048) / 16) + 1) = 5 x 193.
    assert float(layout.request_blocks(131_072)) == 4096 + 5 * 193


def test_layers_that_all_keep_every_token_have_plain_blocks() -> None:
    assert _capacity("llama-3.1-8b", 8192).layout is None
    assert _capacity("glm-5.2", 8192).layout is None
    assert _capacity("gemma-4-31b", 8192, engine_version="0.9").layout is None


def test_a_draft_takes_a_layer_rows_and_pages() -> None:
    # Three rows of 20,480 B become six: (3,145,728 + 122,880) / 4,096 = 798 -> 800 tokens; 17 layers; 2 + 3 pages.
    layout = _layout(_capacity("qwen3.5-27b", 8192, speculative="mtp:3"))
    assert (layout.smallest_block_tokens, layout.group_layers, layout.state_pages) == (800, 17, 5)


def test_an_offloaded_cache_does_not_fill_the_pool_with_blocks() -> None:
    dense = _capacity("qwen3.5-27b", 8192, kv_gib=20.0)
    offloaded = _capacity("qwen3.5-27b", 8192, kv_gib=20.0, scheme="offload:fraction=0.5")
    assert not _layout(offloaded).resident
    assert offloaded.max_concurrency.mid > dense.max_concurrency.mid


# model, version, GiB, maximum length, options, printed tokens: public rows E051, E050, E084, E080, E113.
PRINTED = [
    ("qwen3.5-122b-a10b", "0.20", 21.43, 131_072, {"kv_dtype": "fp8"}, 467_712),
    ("qwen3.5-122b-a10b", "0.20", 24.05, 262_144, {"kv_dtype": "fp8", "speculative": "mtp:1"}, 482_080),
    ("qwen3.5-27b", "0.24", 31.24, 8192, {}, 314_187),
    ("gemma-4-31b", "0.24", 63.29, 8192, {}, 75_278),
    ("qwen3.5-35b-a3b", "0.24", 5.98, 131_072, {"kv_dtype": "fp8"}, 567_978),
]


@pytest.mark.parametrize(("model", "version", "gib", "length", "options", "tokens"), PRINTED)
def test_printed_tokens_to_the_digit(
    model: str, version: str, gib: float, length: int, options: dict[str, str], tokens: int
) -> None:
    capacity = _capacity(model, length, engine_version=version, kv_gib=gib, **options)
    assert capacity.kv_tokens.mid == tokens


def test_an_upgrade_changes_the_count_and_not_the_cache() -> None:
    # vllm-project/vllm#43308: about 55k tokens in 0.20 and 525k in 0.21, from about 50 GiB.
    old, new = (_capacity("gemma-4-31b", 131_072, "a100", engine_version=v, kv_gib=50.0) for v in ("0.20", "0.21"))
    assert old.kv_tokens.mid == pytest.approx(55_000, rel=0.01)
    assert new.kv_tokens.mid == pytest.approx(525_000, rel=0.02)
    assert old.max_concurrency == new.max_concurrency


def test_sglang_keeps_states_apart() -> None:
    # 0.9 of the token pool is states: 20 GiB of a pool of 38 GiB hold tokens.
    capacity = _capacity("qwen3.5-27b", 8192, engine="sglang")
    pool = capacity.kv.mid
    assert capacity.token_pool(pool) == pytest.approx(pool / 1.9)
    assert capacity.tokens(pool) == pytest.approx(pool / 1.9 / 65_536, abs=1)
    # 17.92 GiB of states for 20.16 GiB of tokens were 124 slots and one that is never used.
    given = _capacity("qwen3.5-27b", 1, engine="sglang", kv_gib=20.16)
    assert given.max_concurrency.mid == pytest.approx(125, abs=2)


@pytest.mark.parametrize("model", ["qwen3.5-27b", "gemma-4-31b", "gpt-oss-20b", "llama-3.1-8b"])
@pytest.mark.parametrize("engine", ["vllm", "sglang", "llamacpp"])
def test_what_fits_is_the_concurrency(model: str, engine: str) -> None:
    capacity = _capacity(model, 8192, engine=engine, kv_gib=20.0)
    most = int(capacity.max_concurrency.mid)
    assert bool(capacity.fits(float(most), 8192.0))
    assert not bool(capacity.fits(float(most + 2), 8192.0))


def test_a_longer_request_never_takes_fewer_blocks() -> None:
    for model in ("qwen3.5-27b", "gemma-4-31b", "gpt-oss-20b"):
        blocks = _layout(_capacity(model, 8192)).request_blocks([1, 16, 17, 784, 785, 4096, 100_000])  # type: ignore[arg-type]
        assert list(blocks) == sorted(blocks)
