"""What points exceed is told: the memory, the engine's largest batch; the step is priced all the same."""

from __future__ import annotations

from kvwall.simulator.answers.compare import compare
from kvwall.simulator.answers.explain import explain
from kvwall.simulator.answers.fit import fit
from kvwall.simulator.answers.step import answer_ragged, step
from kvwall.simulator.inquiry import Inquiry, resolve


def refusals(warnings: tuple[str, ...]) -> list[str]:
    return [line for line in warnings if "does not fit" in line]


def test_a_point_that_does_not_fit_says_why_and_what_would() -> None:
    (told,) = refusals(step("deepseek-v3", on="h100:8", batch=[1, 8, 64], context=[4096]).warnings)
    assert told == f"does not fit: 1 x 4,096 tokens: {fit('deepseek-v3', on='h100:8', context=4096).reason}"
    assert told.endswith("would fit")
    assert refusals(explain("deepseek-v3", on="h100:8", batch=1, context=4096).warnings) == [told]


def test_the_largest_batch_that_fits() -> None:
    (told,) = refusals(step("llama-3.1-8b", on="h100", batch=[1, 300], context=[8192]).warnings)
    most = int(told.partition("; a batch of ")[2].partition(" ")[0])
    answer = step("llama-3.1-8b", on="h100", batch=[most, most + 1], context=[8192])
    assert [point.fits for point in answer.points] == [True, False]


def test_each_scheme_that_does_not_fit_has_a_line() -> None:
    answer = compare("llama-3.1-8b", on="h100", schemes=["none", "fp8"], batch=[80], context=[8192])
    assert [line.partition(":")[0] for line in refusals(answer.warnings)] == ["none"]


def test_a_ragged_batch_that_does_not_fit_says_so() -> None:
    resolved = resolve(Inquiry("llama-3.1-8b", "h100"))
    assert refusals(answer_ragged(resolved, ((8192, 100),)).warnings)
    assert not refusals(answer_ragged(resolved, ((8192, 10),)).warnings)


def test_a_ragged_batch_shares_what_its_sequences_share() -> None:
    """100 sequences of 8,192 tokens whose first 7,168 are the same: (7168 / 100 + 1024) * 128 KiB = 0.134 GiB each and
    13.4 GiB in all, of a pool of some 50 GiB that 100 whole ones of 1 GiB would not fit."""
    resolved = resolve(Inquiry("llama-3.1-8b", "h100", scheme="prefix:tokens=7168"))
    assert not refusals(answer_ragged(resolved, ((8192, 100),)).warnings)


def test_a_batch_beyond_the_engines_largest_is_told() -> None:
    def told(batch: int, **options: int) -> list[str]:
        answer = step("llama-3.1-8b", on="h100:2", batch=[batch], max_num_seqs=16, **options)  # type: ignore[arg-type]
        return [line for line in answer.warnings if "largest batch" in line]

    assert told(16) == told(32, dp=2, tp=1) == []
    (line,) = told(32)
    assert line.startswith("batch 32 exceeds the 16 sequences of the engine's largest batch (--max-num-seqs)")
    assert told(33, dp=2, tp=1)[0].startswith("batch 33 (17 a replica) exceeds the 16 sequences")


def test_copies_of_a_latent_cache_are_told() -> None:
    def told(model: str, on: str) -> list[str]:
        answers = (step(model, on=on), compare(model, on=on, schemes=["none"]))
        return [line for answer in answers for line in answer.assumptions if line.startswith("KV GB")]

    assert told("deepseek-v3", "h200:8") == ["KV GB is of all ranks, which hold 8 times one copy of the cache"] * 2
    assert told("llama-3.1-8b", "h100:8") == []
    assert told("qwen3-30b-a3b", "h100:8")[0].endswith("2 times one copy of the cache")
