"""Speculative decoding: what is emitted, what the draft caches and reads, and how a step changes."""

from __future__ import annotations

import random

import pytest

from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.step import step
from kvwall.simulator.capacity import Capacity
from kvwall.simulator.inquiry import Inquiry, resolve
from kvwall.simulator.speculation import Speculation, parse_speculation, with_draft
from kvwall.workloads.model_spec import MODELS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mtp", Speculation("mtp", 1, 0.7)),
        ("mtp:3", Speculation("mtp", 3, 0.7)),
        ("EAGLE:tokens=5, acceptance=0.85", Speculation("eagle", 5, 0.85)),
        ("ngram:4,acceptance=0", Speculation("ngram", 4, 0.0)),
    ],
)
def test_spellings(text: str, expected: Speculation) -> None:
    assert parse_speculation(text) == expected


@pytest.mark.parametrize(("tokens", "acceptance"), [(1, 0.5), (3, 0.8), (5, 0.95), (4, 0.0), (4, 1.0)])
def test_expected_tokens_are_the_mean_of_a_simulation(tokens: int, acceptance: float) -> None:
    chance = random.Random(7)
    emitted = 0
    for _ in range(40_000):
        accepted = 0
        while accepted < tokens and chance.random() < acceptance:
            accepted += 1
        emitted += accepted + 1  # what is accepted, and the token of the verifying step itself
    assert Speculation("eagle", tokens, acceptance).emitted == pytest.approx(emitted / 40_000, rel=0.01)


def test_a_draft_adds_one_layer_of_each_kind_and_a_lookup_none() -> None:
    model = MODELS.load("llama-3.1-8b")
    drafted = with_draft(model, Speculation("eagle", 3, 0.8))
    assert drafted.layers == 33
    assert drafted.attention[0].layers == 33
    assert drafted.feed_forward[-1].layers == 33
    assert with_draft(model, Speculation("ngram", 3, 0.8)) is model


def test_the_cache_of_a_draft_is_one_layer_more() -> None:
    plain, drafted = (
        step("llama-3.1-8b", on="h100", batch=[8], context=[8192], speculative=text).points[0]
        for text in (None, "eagle:3")
    )
    assert drafted.kv_stored_bytes == plain.kv_stored_bytes * 33 / 32
    assert drafted.kv_written_bytes == plain.kv_written_bytes * 33 / 32 * 4  # four query tokens a step
    assert drafted.query_tokens == 1


def test_tokens_per_second_count_what_is_accepted() -> None:
    draft = Speculation("mtp", 3, 0.8)
    point = step("deepseek-v3", on="h200:8", batch=[16], speculative="mtp:tokens=3,acceptance=0.8").points[0]
    assert point.tokens_per_s.mid == pytest.approx(16 * draft.emitted / point.step_s.mid)
    assert draft.emitted == pytest.approx(1 + 0.8 + 0.8**2 + 0.8**3)


def test_a_good_draft_pays_at_small_batch_and_a_bad_one_costs() -> None:
    def rate(speculative: str | None) -> float:
        return step("llama-3.1-70b", on="h100:8", batch=[1], speculative=speculative).points[0].tokens_per_s.mid

    assert rate("eagle:tokens=3,acceptance=0.9") > 1.5 * rate(None)
    assert rate("eagle:tokens=3,acceptance=0") < rate(None)


def test_later_draft_passes_read_the_layer_and_the_head_again() -> None:
    words = {"on": "h100", "batch": [1], "context": [1024]}
    one, three = (
        step("llama-3.1-8b", speculative=f"eagle:{k}", **words).points[0].weights_read_bytes  # type: ignore[arg-type]
        for k in (1, 3)
    )
    layer = 2 * (4096 * 6144 + 4096 * 4096 + 3 * 4096 * 14336)
    head = 2 * 128256 * 4096
    assert three - one == pytest.approx(2 * (layer + head), rel=1e-9)


def test_later_draft_passes_read_their_own_cache_again() -> None:
    # One layer of Llama-3.1-8B caches 4096 bytes a token; 33 layers are read by the verifying step, one by each pass.
    point = step("llama-3.1-8b", on="h100", batch=[4], context=[8192], speculative="eagle:3").points[0]
    assert point.kv_read_bytes == 4 * 8192 * 4096 * (33 + 2)
    lookup = step("llama-3.1-8b", on="h100", batch=[4], context=[8192], speculative="ngram:3").points[0]
    assert lookup.kv_read_bytes == 4 * 8192 * 4096 * 32


def test_the_draft_is_an_assumption_that_is_told() -> None:
    told = resolve(Inquiry("llama-3.1-8b", "h100", speculative="eagle:3")).assumptions
    assert "eagle drafts 3, accepted 0.7 each: 2.53 a step" in told


def test_a_model_without_attention_has_nothing_to_draft_with() -> None:
    model = MODELS.load("qwen3-next-80b-a3b")
    states = tuple(group for group in model.attention if group.kind == "linear")
    with pytest.raises(InputError, match=r"^--speculative mtp: .* has no layer that caches tokens$"):
        with_draft(model.model_copy(update={"attention": states}), Speculation("mtp", 1, 0.7))


def test_a_tree_emits_the_mean_of_a_simulation() -> None:
    """Five levels of four candidates, each accepted with 0.3: a level passes with 1 - 0.7^4."""
    chance = random.Random(7)
    emitted = 0
    for _ in range(40_000):
        accepted = 0
        while accepted < 5 and any(chance.random() < 0.3 for _ in range(4)):
            accepted += 1
        emitted += accepted + 1
    draft = parse_speculation("eagle:tokens=5,nodes=20,acceptance=0.3")
    assert draft.emitted == pytest.approx(emitted / 40_000, rel=0.01)
    assert draft.verified == 20


def test_verification_holds_slots_logits_and_a_mask() -> None:
    """60 candidates: 60 slots of 33 layers x 4,096 bytes, 60 x 128,256 fp32 logits and 60 x 60 bytes of a mask."""
    draft, plain = (
        Capacity(resolve(Inquiry("llama-3.1-8b", "h100", engine="none", speculative=text)).setup, 8192)
        for text in ("eagle:tokens=5,nodes=60", "eagle:5")
    )
    more = float(draft.sequence_bytes(8192.0)) - float(plain.sequence_bytes(8192.0))
    assert more == 55 * 33 * 4096 + 55 * 128256 * 4 + 60 * 60 - 5 * 5
    assert float(plain.sequence_bytes(8192.0)) == (8192 + 5) * 33 * 4096 + 5 * 128256 * 4 + 25
    # What an engine prints as its capacity in tokens is a number of blocks, whatever a draft takes of them later.
    assert draft.bytes_per_sequence == plain.bytes_per_sequence == 0


def test_a_tree_reads_the_cache_once_for_all_its_candidates() -> None:
    chain, tree = (
        step("llama-3.1-8b", on="h100", batch=[1], context=[8192], speculative=text).points[0]
        for text in ("eagle:tokens=5", "eagle:tokens=5,nodes=60")
    )
    assert tree.kv_read_bytes == chain.kv_read_bytes
    assert tree.kv_written_bytes == chain.kv_written_bytes * 61 / 6
    assert tree.tokens_per_s.mid > chain.tokens_per_s.mid


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("eagle:tokens=5,nodes=4", "--speculative 'eagle:tokens=5,nodes=4': nodes must be 5 (tokens) to 4096"),
        ("eagle:tokens=5,nodes=many",
         "--speculative 'eagle:tokens=5,nodes=many': not a number (write mtp:tokens=3,acceptance=0.8)"),
    ],
)  # fmt: skip
def test_trees_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_speculation(text)
    assert str(raised.value) == message
