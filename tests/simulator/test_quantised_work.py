"""Work of quantised caches beside their bytes: the worked example of 16 sequences of 8,192 tokens, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from kvwall.simulator.capacity import Capacity
from kvwall.simulator.estimate import Axes, estimate

AXES = Axes(16, 8192)
#: Cached elements: 131,072 tokens x 2 x 8 heads x 128 channels x 32 layers (Llama-3.1-8B), four times as many (7B).
ELEMENTS = {"llama-3.1-8b": 131_072 * 65_536, "llama-2-7b": 131_072 * 262_144}


def terms(measure: Any, model: str, scheme: str, axes: Axes = AXES) -> dict[str, float]:
    found: dict[str, float] = measure(axes, model=model, scheme=scheme, engine="none")["terms"]
    return found


@pytest.mark.parametrize(("model", "tflop"), [("llama-3.1-8b", 0.030), ("llama-2-7b", 0.120)])
def test_atom_scales_every_element_and_rotates_every_key(measure: Any, model: str, tflop: float) -> None:
    """2 FLOP per element and 3 per key: 3.5 x 8.59e9 elements are 0.030 TFLOP, four times as much with 32 heads."""
    found = terms(measure, model, "atom")
    work = found["scale key"] + found["scale value"] + found["rotate cached keys"]
    assert work == pytest.approx(3.5 * ELEMENTS[model])
    assert round(work / 1e12, 3) == tflop


@pytest.mark.parametrize("scheme", ["kivi:bits=2", "mikv:high=8,policy=snapkv", "zipvl:scales=head"])
def test_a_grouped_code_takes_one_multiply_add(measure: Any, scheme: str) -> None:
    """2 x 8.59e9 elements are 0.017 TFLOP; a 16-bit window of 128 values of 8,192 is spared a 128th of it."""
    found = terms(measure, "llama-3.1-8b", scheme)
    work = sum(amount for name, amount in found.items() if name.startswith("scale "))
    assert round(work / 1e12, 3) == 0.017


def test_block_floating_point_is_free_in_hardware_only(measure: Any) -> None:
    assert not any(
        "BFP" in name or name.startswith(("scale", "unpack")) for name in terms(measure, "llama-2-7b", "bfp")
    )
    found = terms(measure, "llama-2-7b", "bfp:unit=software")
    assert found["scale key"] == found["scale value"] == ELEMENTS["llama-2-7b"]


@pytest.mark.parametrize(("model", "gib"), [("llama-3.1-8b", 12.6), ("llama-2-7b", 50.5)])
def test_the_published_kernel_of_kivi_moves_four_times_its_bytes(measure: Any, model: str, gib: float) -> None:
    """3 K_q + 5 V_q + 6 residual: of 131,072 tokens, 12,288 bytes of key codes, 12,096 of value codes, 1,024 of window.

    3 x 12,288 + 5 x 12,096 + 6 x 1,024 = 103,488 bytes a token = 12.63 GiB (8B), 4.07 times the cache.
    """
    measured = measure(AXES, model=model, scheme="kivi:bits=2,kernel=public", engine="none")
    copies = sum(amount for name, amount in measured["terms"].items() if name.startswith("copy "))
    moved = copies + measured["kv_read_bytes"]
    times = ELEMENTS[model] // ELEMENTS["llama-3.1-8b"]
    assert moved == times * 103_488 * 131_072
    assert round(moved / 2**30, 1) == gib
    assert round(moved / measured["kv_read_bytes"], 2) == 4.07


def test_appends_of_kivi_by_copying_or_in_place(measure: Any) -> None:
    """Without the copies to append: two of V_q and two of the residual less, 12,096 x 2 + 1,024 x 2 a token."""

    def copied(scheme: str) -> float:
        found = terms(measure, "llama-3.1-8b", scheme)
        return sum(amount for name, amount in found.items() if name.startswith("copy "))

    public, in_place = copied("kivi:bits=2,kernel=public"), copied("kivi:bits=2,kernel=public,append=in_place")
    assert public - in_place == (2 * 12_096 + 2 * 1_024) * 131_072
    assert copied("kivi:bits=2,append=concat") == public - in_place
    assert copied("kivi:bits=2") == 0


def test_a_scheme_with_appends_of_its_own_is_spared_those_of_the_engine(measure: Any) -> None:
    """The published code of KIVI keeps its cache itself: the engine's copies do not come on top."""
    own = measure(AXES, model="llama-2-7b", scheme="kivi:bits=2", engine="hf")
    assert not any(name.startswith("copy ") for name in own["terms"])


def test_every_query_head_of_the_published_kernel_unpacks_again(measure: Any) -> None:
    """Four query heads share a KV head: 4 x 16 to unpack and 3 x 2 to scale again, on 8,192 + 8,064 tokens."""
    fused, public = (terms(measure, "llama-3.1-8b", f"kivi:bits=2,kernel={k}") for k in ("fused", "public"))
    coded = ELEMENTS["llama-3.1-8b"] / 2 * (8192 + 8064) / 8192
    assert fused["unpack key"] + fused["unpack value"] == pytest.approx(16 * coded)
    assert public["unpack key"] + public["unpack value"] == pytest.approx((4 * 16 + 3 * 2) * coded)


def test_a_prompt_passes_through_integers_of_32_bits(setup_of: Any, measure: Any) -> None:
    """4 bytes for each of 4,096 channels of one layer and 1,000 tokens; 18 bytes moved per element of all layers."""
    plain, public = (
        Capacity(setup_of("llama-2-7b", f"kivi:bits=2,kernel={k}", engine="none"), 1000) for k in ("fused", "public")
    )
    assert float(public.sequence_bytes(1000.0) - plain.sequence_bytes(1000.0)) == 4 * 4096 * 1000
    prompt = terms(measure, "llama-2-7b", "kivi:bits=2,kernel=public", Axes(2, 1000, "prefill"))
    assert prompt["quantise the prompt"] == 18 * 262_144 * 2 * 1000


def test_released_zipcache_unpacks_everything_first(measure: Any) -> None:
    """Six bytes per element on top of the codes: worse than the two bytes of a 16-bit cache."""
    found = terms(measure, "llama-3.1-8b", "zipcache:kernel=public")
    assert found["unpack the cache"] == 6 * ELEMENTS["llama-3.1-8b"]


def test_scores_of_mikv(measure: Any) -> None:
    """A step adds 32 heads x 32 layers per token and writes as many sums, and 8 heads' scores, in fp32."""
    found = terms(measure, "llama-3.1-8b", "mikv")
    assert found["add up scores"] == 32 * 32 * 131_072
    assert found["write column sums and scores"] == 4 * 32 * (32 + 8) * 131_072
    assert found["read scores"] == 4 * 32 * 8 * 131_072
    assert "add up scores" not in terms(measure, "llama-3.1-8b", "mikv:policy=snapkv")


def test_zipvl_drops_the_square_of_what_it_leaves_out(setup_of: Any) -> None:
    """With half of the tokens a quarter of the pairs is left: (c n) (c n + 1) / 2."""
    lines = estimate(setup_of("llama-2-7b", "zipvl:important=0.5"), Axes(1, 8192, "prefill")).lines
    found = next(line.term for line in lines if line.term.name == "scores and weighted sum")
    assert float(found.symbols["P"]) == 4096 * 4097 / 2


def test_kvquant_rotates_keys_and_launches_sparse_products(setup_of: Any, measure: Any) -> None:
    """3 FLOP per cached key; four launches a layer for two sparse products and two appends, none without outliers."""
    assert terms(measure, "llama-2-7b", "kvquant")["rotate cached keys"] == 3 * ELEMENTS["llama-2-7b"] / 2
    found = estimate(setup_of("llama-2-7b", "kvquant"), AXES).lines
    assert any(line.operator == "append outliers" for line in found)
    none = estimate(setup_of("llama-2-7b", "kvquant:outliers=0"), AXES).lines
    assert not any(line.operator == "append outliers" for line in none)


def test_kvquant_codebook_is_held_once(setup_of: Any) -> None:
    """4,096 channels x 32 layers x 2^4 entries x 4 bytes, whatever the number of sequences."""
    bare, coded = (
        Capacity(setup_of("llama-2-7b", scheme, engine="none"), 1000).weights_arithmetic_bytes
        for scheme in ("none", "kvquant")
    )
    assert coded - bare == 4096 * 32 * 16 * 4
