"""Values that are no number, have another unit, or lie beyond what is credible."""

from __future__ import annotations

from collections.abc import Callable

import pytest

STEP = "step llama-3.1-8b --on h100"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--batch 0", "--batch: '0' is outside 1 to 1000000; write for example '1..256*2'"),
        ("--batch -1", "--batch: '-1' is not a whole number from 1 to 1000000; write for example '1..256*2'"),
        ("--batch 1.5", "--batch: '1.5' is not a whole number; write for example '1..256*2'"),
        ("--batch many", "--batch: 'many' is not a whole number from 1 to 1000000; write for example '1..256*2'"),
        ("--batch inf", "--batch: 'inf' is not a whole number from 1 to 1000000; write for example '1..256*2'"),
        ("--batch 8..1", "--batch: '8..1' runs backwards; write for example '1..256*2'"),
        ("--batch 1..256*1", "--batch: the ratio '1' is not a number above 1; write for example '1..256*2'"),
        ("--batch 1..1000000", "--batch x --context: 1000000 points are too many for a table (at most 10000)"),
        ("--batch 99999999999", "--batch: '99999999999' is outside 1 to 1000000; write for example '1..256*2'"),
        ("--context 8q", "--context: '8q' is not a whole number from 1 to 1000000000; write for example '1k..128k*2'"),
        (
            "--context nan",
            "--context: 'nan' is not a whole number from 1 to 1000000000; write for example '1k..128k*2'",
        ),
        ("--context 10000m", "--context: '10000m' is outside 1 to 1000000000; write for example '1k..128k*2'"),
        ("--contexts ''", "--contexts: lists no sequences; write for example '8k*30,128k*2'"),
        ("--contexts 8k*0", "--contexts: '0' is outside 1 to 1000000; write for example '8k*30,128k*2'"),
        (
            "--contexts 8k*30,128q*2",
            "--contexts: '128q' is not a whole number from 1 to 1000000000; write for example '8k*30,128k*2'",
        ),
        ("--contexts missing.txt", "missing.txt: cannot be read (No such file or directory)"),
        (
            "--contexts 8k*30 --phase prefill",
            "--contexts: a ragged batch is for decode (price prefills one by one)",
        ),
        ("--query-tokens 0", "--query-tokens: '0' is outside 1 to 1000000000; write for example '32k'"),
        (
            "--phase prefill --query-tokens 16k",
            "--query-tokens 16384: exceeds the context 8192 that includes them",
        ),
        ("--memory-utilization 90", "--memory-utilization 90.0: must lie between 0.01 and 1"),
        (
            "--engine none --memory-utilization 0.5",
            "--memory-utilization 0.5: engine 'none' has no memory fraction; state the memory by --gpu-memory-gib",
        ),
        ("--memory-utilization nan", "--memory-utilization nan: must lie between 0.01 and 1"),
        ("--utilization 0", "--utilization 0.0: must lie between 0.001 and 1"),
        ("--price-usd-per-gpu-hour -2", "--price-usd-per-gpu-hour -2.0: must lie between 0 and 100000"),
        ("--price-usd-per-gpu-hour inf", "--price-usd-per-gpu-hour inf: must lie between 0 and 100000"),
        ("--kv-gib 0", "--kv-gib 0.0: must lie between 0.0001 and 1e+06"),
        ("--weights-gib nan", "--weights-gib nan: must lie between 0.001 and 100000"),
        ("--gpu-memory-gib -80", "--gpu-memory-gib -80.0: must lie between 0.1 and 100000"),
        ("--kv-tokens many", "--kv-tokens: 'many' is not a whole number from 1 to 1000000000; write for example '32k'"),
        ("--block-size 0", "--block-size 0: must lie between 1 and 1e+06"),
        ("--max-num-seqs 0", "--max-num-seqs 0: must lie between 1 and 1e+06"),
        ("--max-batched-tokens 0", "--max-batched-tokens: '0' is outside 1 to 1000000000; write for example '32k'"),
    ],
)
def test_a_number_that_cannot_be(refusal: Callable[[str], str], options: str, message: str) -> None:
    assert refusal(f"{STEP} {options}") == message


@pytest.mark.parametrize(
    ("speculative", "problem"),
    [
        ("eagle:tokens=0", "tokens must be 1 to 64 and acceptance 0 to 1"),
        ("eagle:tokens=65", "tokens must be 1 to 64 and acceptance 0 to 1"),
        ("eagle:acceptance=1.5", "tokens must be 1 to 64 and acceptance 0 to 1"),
        ("eagle:acceptance=nan", "tokens must be 1 to 64 and acceptance 0 to 1"),
        ("eagle:tokens=x", "not a number"),
        ("eagle:3,0.8", "'0.8' is not an option"),
        ("eagle:accept=0.5", "'accept=0.5' is not an option; did you mean 'acceptance'?"),
    ],
)
def test_a_draft_that_cannot_be(refusal: Callable[[str], str], speculative: str, problem: str) -> None:
    expected = f"--speculative '{speculative}': {problem} (write mtp:tokens=3,acceptance=0.8)"
    assert refusal(f"{STEP} --speculative {speculative}") == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "--speculative eagel",
            "unknown drafter of --speculative 'eagel'; did you mean 'eagle'? (allowed: eagle, mtp, ngram)",
        ),
        ("--speculative ''", "unknown drafter of --speculative '' (allowed: eagle, mtp, ngram)"),
        ("--speculative mtp:1,tokens=2", "--speculative 'mtp:1,tokens=2': the option 'tokens' stands twice"),
        ("--lora 8", "--lora '8': write N:RANK, as in 8:16"),
        ("--lora ''", "--lora '': write N:RANK, as in 8:16"),
        ("--lora ²:16", "--lora '²:16': write N:RANK, as in 8:16"),
        ("--lora 8:0", "--lora '8:0': N must be 1 to 100000 and RANK 1 to 4096, as in 8:16"),
        ("--lora 8:99999", "--lora '8:99999': N must be 1 to 100000 and RANK 1 to 4096, as in 8:16"),
    ],
)
def test_drafts_and_adapters(refusal: Callable[[str], str], options: str, message: str) -> None:
    assert refusal(f"{STEP} {options}") == message


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "explain llama-3.1-8b --on h100 --batch 1,2",
            "--batch: '1,2' is not a whole number from 1 to 1000000; write for example '64'",
        ),
        (
            "compare llama-3.1-8b --on h100 --schemes ''",
            "--schemes: is empty; write for example 'none;fp8;kivi:bits=2'",
        ),
        ("need llama-3.1-8b --context 0", "--context: '0' is outside 1 to 1000000000; write for example '32k'"),
        ("need llama-3.1-8b --users 0", "--users: '0' is outside 1 to 1000000; write for example '64'"),
        ("fit llama-3.1-8b --on h100 --users 0", "--users: '0' is outside 1 to 1000000; write for example '64'"),
        (
            "fit llama-3.1-8b --on h100 --context -5",
            "--context: '-5' is not a whole number from 1 to 1000000000; write for example '32k'",
        ),
    ],
)
def test_counts_of_the_other_commands(refusal: Callable[[str], str], command: str, message: str) -> None:
    assert refusal(command) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--tp two", "--tp 'two': expected a whole number"),
        ("--tp=1.5", "--tp '1.5': expected a whole number"),
        ("--kv-gib much", "--kv-gib 'much': expected a number"),
        ("--phase prefil", "--phase 'prefil': expected 'decode', 'prefill'; did you mean 'prefill'?"),
        ("--cache hot", "--cache 'hot': expected 'cold', 'warm'"),
        ("--tp", "Option '--tp' requires an argument"),
        ("--json=yes", "Option '--json' does not take a value"),
    ],
)
def test_an_option_of_another_type(refusal: Callable[[str], str], options: str, message: str) -> None:
    assert refusal(f"{STEP} {options}") == f"{message} (see kvwall step --help)"


def test_a_context_beyond_the_model_is_answered_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    from kvwall.simulator.cli.main import main

    assert main([*STEP.split(), "--context", "1m", "--json"]) == 0
    expected = '"context 1048576 exceeds the 131072 tokens of Llama-3.1-8B: priced as if the same architecture went on"'
    assert expected in capsys.readouterr().out
