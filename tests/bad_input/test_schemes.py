"""Schemes that cannot be: options, values, two on one axis, and architectures that forbid them."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        (
            "kivi:bist=2",
            "scheme 'kivi:bist=2': unknown key 'bist'; did you mean 'bits'? "
            "(allowed: append, bits, group, kernel, residual)",
        ),
        ("kivi:bits=3000", "scheme 'kivi:bits=3000': bits: expected 2, 4 or 8 (found '3000')"),
        ("kivi:bits=nan", "scheme 'kivi:bits=nan': bits: expected 2, 4 or 8 (found 'nan')"),
        ("kivi:bits", "scheme 'kivi:bits': 'bits' is not an option (write key=value)"),
        ("kivi:bits=2, bits=4", "scheme 'kivi:bits=2, bits=4': the option 'bits' stands twice"),
        ("kivi:residual=-1", "scheme 'kivi:residual=-1': residual: expected at least 0 (found '-1')"),
        ("palu:keep=1.5", "scheme 'palu:keep=1.5': keep: expected at most 1 (found '1.5')"),
        ("palu:keep=0", "scheme 'palu:keep=0': keep: expected above 0 (found '0')"),
        ("palu:keep=nan", "scheme 'palu:keep=nan': keep: expected a finite number (found 'nan')"),
        ("snapkv:budget=many", "scheme 'snapkv:budget=many': budget: expected a whole number (found 'many')"),
        ("offload:to=moon", "scheme 'offload:to=moon': to: expected 'host' or 'ssd' (found 'moon')"),
        (
            "offload:to=hots",
            "scheme 'offload:to=hots': to: expected 'host' or 'ssd'; did you mean 'host'? (found 'hots')",
        ),
        (
            "offload:fraction=2",
            "scheme 'offload:fraction=2': fraction: expected at most 1 or 'auto' (found '2')",
        ),
        ("kivi+fp8", "scheme 'kivi+fp8': both 'kivi' and 'fp8' shrink the bits"),
        ("snapkv+streaming_llm", "scheme 'snapkv+streaming_llm': both 'snapkv' and 'streaming_llm' shrink the tokens"),
        ("kivi+", "scheme 'kivi+': a name is missing (as in 'kivi:bits=2+offload:to=host')"),
        ("", "scheme '': a name is missing (as in 'kivi:bits=2+offload:to=host')"),
    ],
)
def test_a_stack_that_cannot_be(refusal: Callable[[str], str], scheme: str, message: str) -> None:
    assert refusal(f"step llama-3.1-8b --on h100 --scheme '{scheme}'") == message


@pytest.mark.parametrize("given", ["--scheme kivi", "--kv-dtype fp8"])
def test_compare_takes_its_stacks_from_schemes(refusal: Callable[[str], str], given: str) -> None:
    message = refusal(f"compare llama-3.1-8b --on h100 {given}")
    assert message == f"{given}: compare takes its stacks from --schemes, as in --schemes 'none;fp8'"


def test_a_cache_format_beside_a_scheme_of_the_same_axis(refusal: Callable[[str], str]) -> None:
    message = refusal("fit llama-3.1-8b --on h100 --scheme kivi --kv-dtype fp8")
    assert message == "scheme 'kivi' with --kv-dtype 'fp8': both 'kivi' and 'fp8' shrink the bits"


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        ("kivi", "its latents have no per-head channels to group"),
        ("snapkv", "one latent serves all heads, so per-head keep-sets do not exist"),
        ("palu", "its cache is a latent already"),
        ("quest", "page bounds are defined on per-head keys"),
    ],
)
@pytest.mark.parametrize("command", ["step deepseek-v3 --on h200:8", "fit deepseek-v3 --on h200:8", "need deepseek-v3"])
def test_latents_forbid_what_is_defined_on_heads(
    refusal: Callable[[str], str], command: str, scheme: str, reason: str
) -> None:
    assert refusal(f"{command} --scheme {scheme}") == f"scheme '{scheme}' does not apply to DeepSeek-V3: {reason}"


def test_compare_keeps_the_other_rows(capsys: pytest.CaptureFixture[str]) -> None:
    from kvwall.simulator.cli.main import main

    assert main(["compare", "deepseek-v3", "--on", "h200:8", "--schemes", "none;kivi"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "kivi: refused: scheme 'kivi' does not apply to DeepSeek-V3: its latents have no per-head channels" in shown
