"""Memory while a prompt is prefilled under an eviction: whole in all layers, or whole in one of them."""

from __future__ import annotations

from typing import Any

import pytest

from kvwall.hardware.errors import ForbiddenError
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.stack import parse_stack, scheme_names


@pytest.mark.parametrize(
    ("scheme", "extra_tokens_of_a_layer"),
    [
        # 31 of 32 layers are cut already, so that one of them holds 32,768 - 1,024 tokens more than what stays.
        ("snapkv:budget=1024,prefill=layerwise", 32768 - 1024),
        ("snapkv:budget=1024", 32 * (32768 - 1024)),
        # 2 x floor(3,276.8) tokens stay.
        ("h2o:prefill=layerwise", 32768 - 6552),
        ("kvcrush:prefill=layerwise", 32768 - 672),
        ("snapkv:budget=65536,prefill=layerwise", 0),
    ],
)
def test_what_a_prompt_takes_beyond_what_stays(setup_of: Any, scheme: str, extra_tokens_of_a_layer: int) -> None:
    """A token of one layer weighs 2 x 8 x 128 x 2 bytes."""
    capacity = Capacity(setup_of(scheme=scheme, engine="none"), 32768)
    sums = 32 * 8 * 2 * (32768 - 6552) if scheme.startswith("h2o") else 0
    assert float(capacity.prompt_extra_bytes(32768.0)) == pytest.approx(extra_tokens_of_a_layer * 4096, abs=sums)


def test_eight_bits_halve_the_layer_that_is_whole(setup_of: Any) -> None:
    capacity = Capacity(setup_of(scheme="snapkv:budget=1024,prefill=layerwise+fp8", engine="none"), 32768)
    assert float(capacity.prompt_extra_bytes(32768.0)) == (32768 - 1024) * 2048


def test_a_longer_prompt_fits_where_layers_are_cut_one_by_one(setup_of: Any) -> None:
    """One prompt of 600,000 tokens is 79 GB on an 80 GB device, or 2.6 GB beside a gigabyte or so that stays."""
    for prefill, fits in (("chunked", False), ("layerwise", True)):
        capacity = Capacity(setup_of(scheme=f"snapkv:prefill={prefill}", engine="none"), 600_000)
        assert bool(capacity.fits(1.0, 600_000.0)) is fits


@pytest.mark.parametrize("scheme", ["snapkv", "h2o", "kvcrush"])
def test_sets_per_head_need_rows_per_head(scheme: str) -> None:
    if "xquant" not in scheme_names():
        pytest.skip("nothing caches layer inputs")
    with pytest.raises(ForbiddenError) as error:
        parse_stack(f"{scheme}+xquant")
    assert "per-head" in str(error.value) or "both" in str(error.value)
