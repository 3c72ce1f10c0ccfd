"""Stacks: what may be written, what is refused and with which words."""

from __future__ import annotations

import pytest

from kvwall.hardware.errors import ForbiddenError, InputError, UnknownNameError
from kvwall.simulator.dense import dense_cache
from kvwall.simulator.scheme import AXIS_ORDER
from kvwall.simulator.stack import parse_stack, scheme_class, scheme_names
from kvwall.workloads.model_lookup import find_model


def test_every_scheme_tells_what_it_is() -> None:
    for name in scheme_names():
        scheme = scheme_class(name)
        assert scheme.name == name
        assert scheme.title
        assert scheme.equations
        assert scheme.reference
        assert scheme.axes <= set(AXIS_ORDER)
        assert scheme.__doc__
        assert scheme().text == name


@pytest.mark.parametrize("text", ["none", "", "None"])
def test_no_scheme(text: str) -> None:
    if not text:
        with pytest.raises(InputError, match="a name is missing"):
            parse_stack(text)
        return
    assert parse_stack(text).schemes == ()
    assert parse_stack(text).text == "none"


def test_schemes_act_in_the_order_of_their_axes() -> None:
    stack = parse_stack("offload:to=host + kivi:bits=4,residual=64 + Palu:keep=0.5")
    assert stack.text == "palu:keep=0.5+kivi:bits=4,residual=64+offload:to=host"
    assert parse_stack(stack.text) == stack


def test_spelling_of_names_is_free() -> None:
    assert parse_stack("StreamingLLM").text == parse_stack("streaming-llm").text == "streaming_llm"


@pytest.mark.parametrize("dtype", [None, "auto", "bf16", "fp16"])
def test_sixteen_bit_dtypes_add_nothing(dtype: str | None) -> None:
    assert parse_stack("snapkv", dtype).text == "snapkv"


def test_a_dtype_of_the_cache_is_one_more_scheme() -> None:
    assert parse_stack("snapkv", "fp8").text == "snapkv+fp8"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("kivi+fp8", ForbiddenError, "scheme 'kivi+fp8': both 'kivi' and 'fp8' shrink the bits"),
        ("snapkv+streaming_llm", ForbiddenError,
         "scheme 'snapkv+streaming_llm': both 'snapkv' and 'streaming_llm' shrink the tokens"),
        ("kivy", UnknownNameError, "unknown scheme 'kivy'; did you mean 'kivi'?"),
        ("kivi:bits", InputError, "scheme 'kivi:bits': 'bits' is not an option (write key=value)"),
        ("kivi:bits=2,bits=4", InputError, "scheme 'kivi:bits=2,bits=4': the option 'bits' stands twice"),
        ("kivi:bits=2,bits =4", InputError, "scheme 'kivi:bits=2,bits =4': the option 'bits' stands twice"),
        ("+fp8", InputError, "scheme '+fp8': a name is missing (as in 'kivi:bits=2+offload:to=host')"),
    ],
)  # fmt: skip
def test_refusals(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        parse_stack(text)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("kivi:bit=2", ("'bit'", "bits")),
        ("kivi:bits=3", ("bits: expected 2, 4 or 8 (found '3')",)),
        ("kivi:residual=100", ("residual 100 is not a multiple of group 32",)),
        ("snapkv:window=99,budget=50", ("window 99 exceeds budget 50",)),
        ("palu:keep=1.5", ("keep", "1.5", "1")),
        ("offload:to=moon", ("to", "'host' or 'ssd'", "'moon'")),
    ],
)
def test_refusals_of_values_name_the_key_and_what_is_allowed(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as raised:
        parse_stack(text)
    assert "\n" not in str(raised.value)
    for part in (f"scheme '{text}': ", *parts):
        assert part in str(raised.value)


def test_a_rewritten_cache_says_who_claimed_which_axis() -> None:
    _, model = find_model("llama-3.1-8b")
    cache = parse_stack("fp8+snapkv+offload").rewrite(dense_cache(model, 1.0, 8192))
    assert cache.claims == (("tokens", "snapkv"), ("bits", "fp8"), ("place", "offload"))


def test_a_model_without_tokens_is_refused() -> None:
    _, model = find_model("qwen3.5-27b")
    states = model.model_copy(update={"attention": model.attention[1:], "name": "States"})
    for name in scheme_names():
        if name != "none":
            with pytest.raises(ForbiddenError) as raised:
                parse_stack(name).check(states)
            assert str(raised.value) == f"scheme {name!r} does not apply to States: it caches no tokens"


def test_whole_numbers_of_options_may_be_written_as_token_counts() -> None:
    assert parse_stack("prefix:tokens=16k") == parse_stack("prefix:tokens=16384")
    assert (
        parse_stack("quest:budget=2K+prefix:tokens=1.5k").text
        == parse_stack("quest:budget=2048+prefix:tokens=1536").text
    )
    with pytest.raises(InputError, match="tokens"):
        parse_stack("prefix:tokens=16q")
    with pytest.raises(InputError, match="keep"):
        parse_stack("palu:keep=1k")
