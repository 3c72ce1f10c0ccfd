"""Names that are in no library: the message holds the name, the nearest one, and what is allowed or lists it."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("step lama-3.1-8b --on h100", "unknown model 'lama-3.1-8b'; did you mean 'llama-3.1-8b'?"),
        ("need zzzz", "unknown model 'zzzz'; 'kvwall list models' lists all"),
        ("step '' --on h100", "model: is empty; give a name, a Hugging Face id or a path"),
        ("step llama-3.1-8b --on h10o", "unknown device 'h10o'; did you mean 'h100'?"),
        ("fit llama-3.1-8b --on quantumchip", "unknown device 'quantumchip'; 'kvwall list devices' lists all"),
        ("step llama-3.1-8b --on ''", "unknown device ''; 'kvwall list devices' lists all"),
        ("step llama-3.1-8b --on h100 --scheme kivvi", "unknown scheme 'kivvi'; did you mean 'kivi'?"),
        ("explain llama-3.1-8b --on h100 --scheme zzzz", "unknown scheme 'zzzz'; 'kvwall list schemes' lists all"),
        ("compare llama-3.1-8b --on h100 --schemes 'none;kivvi'", "unknown scheme 'kivvi'; did you mean 'kivi'?"),
        ("step llama-3.1-8b --on h100 --kv-dtype fp88", "--kv-dtype: unknown scheme 'fp88'; did you mean 'fp8'?"),
        ("step llama-3.1-8b --on h100 --engine vlmm", "unknown engine 'vlmm'; did you mean 'vllm'?"),
        ("need llama-3.1-8b --engine zzzz", "unknown engine 'zzzz'; 'kvwall list engines' lists all"),
        (
            "step llama-3.1-8b --on h100 --engine-version banana",
            "--engine-version 'banana': not a version of vllm; write for example '0.9.2' or '2025-08'",
        ),
        ("need llama-3.1-8b --weights int44", "unknown weight format 'int44'; did you mean 'int4'?"),
        ("step llama-3.1-8b --on h100 --weights ''", "unknown weight format ''; 'kvwall list weights' lists all"),
        (
            "step llama-3.1-8b --on h100 --calibration nope",
            "unknown calibration 'nope'; did you mean 'none'?",
        ),
        ("stpe llama-3.1-8b --on h100", "unknown command 'stpe'; did you mean 'step'? (see kvwall --help)"),
        ("step llama-3.1-8b", "Missing option '--on' (see kvwall step --help)"),
        ("step --on h100", "Missing argument 'model' (see kvwall step --help)"),
        ("step llama-3.1-8b --on h100 extra", "Got unexpected extra argument(s) (extra) (see kvwall step --help)"),
    ],
)
def test_a_name_that_nothing_has(refusal: Callable[[str], str], command: str, message: str) -> None:
    assert refusal(command) == message


def test_a_misspelt_option_names_the_nearest(refusal: Callable[[str], str]) -> None:
    message = refusal("step llama-3.1-8b --on h100 --bacth 3")
    assert message.startswith("No such option: --bacth")
    assert "--batch" in message
