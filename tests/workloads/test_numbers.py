"""Numbers as people write them, and what every wrong one says."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvwall.hardware.errors import InputError
from kvwall.workloads.numbers import parse_count, parse_counts, parse_ragged, parse_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("32k", 32768), ("1m", 1048576), ("1M", 1048576), (" 8K ", 8192), ("1.5k", 1536), ("8192", 8192), (8192, 8192)],
)
def test_tokens(text, tokens):
    assert parse_tokens(text) == tokens


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("8.5", "--context: '8.5' is not a whole number; write for example '32k'"),
        ("0", "--context: '0' is outside 1 to 1000000000; write for example '32k'"),
        ("2000m", "--context: '2000m' is outside 1 to 1000000000; write for example '32k'"),
        *(
            (value, f"--context: {value!r} is not a whole number from 1 to 1000000000; write for example '32k'")
            for value in (
                "-1",
                "nan",
                "inf",
                "",
                "1e3",
                "1_000",
                "2g",
                "32kb",
                "\u0663",
                True,
                None,
                -5,
                float("inf"),
                [1],
            )
        ),
    ],
)
def test_a_wrong_number_of_tokens_is_one_line(value, message):
    with pytest.raises(InputError) as caught:
        parse_tokens(value)
    assert str(caught.value) == message


def test_an_integer_too_long_to_print_is_one_line():
    with pytest.raises(InputError) as caught:
        parse_tokens(10**5000)
    assert str(caught.value) == (
        "--context: a number of thousands of digits is not a whole number from 1 to 1000000000; write for example '32k'"
    )


def test_a_count_has_its_own_bound_and_example():
    assert parse_count("64") == 64
    assert parse_count("0", "--shared-prefix", lowest=0) == 0
    with pytest.raises(InputError) as caught:
        parse_count("1000001", "--users")
    assert str(caught.value) == "--users: '1000001' is outside 1 to 1000000; write for example '64'"


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("7", (7,)),
        (7, (7,)),
        ("1,8,64", (1, 8, 64)),
        ("1..256*2", (1, 2, 4, 8, 16, 32, 64, 128, 256)),
        ("1..100*10", (1, 10, 100)),
        ("1..99*10", (1, 10)),
        ("1..10", tuple(range(1, 11))),
        ("1..100+33", (1, 34, 67, 100)),
        ("1k..64k*2", tuple(1024 * 2**power for power in range(7))),
        ("1..10*1.5", (1, 2, 3, 5, 8)),
        ("1, 8..32*2", (1, 8, 16, 32)),
        ([1, "2k"], (1, 2048)),
        ({"from": 1, "to": 256, "count": 9, "spacing": "geometric"}, (1, 2, 4, 8, 16, 32, 64, 128, 256)),
        ({"from": 1, "to": 10, "count": 4}, (1, 4, 7, 10)),
        ({"from": "1k", "to": "8k", "count": 1}, (1024,)),
    ],
)
def test_lists_and_ranges(text, counts):
    assert parse_counts(text) == counts


EXAMPLE = "write for example '1..256*2'"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1..", f"'1..' is not a whole number from 1 to 1000000; {EXAMPLE}"),
        ("1,,2", f"'' is not a whole number from 1 to 1000000; {EXAMPLE}"),
        ("5..1", f"'5..1' runs backwards; {EXAMPLE}"),
        ("0..4", f"'0' is outside 1 to 1000000; {EXAMPLE}"),
        ("1..2000000", f"'2000000' is outside 1 to 1000000; {EXAMPLE}"),
        ("1..9*1", f"the ratio '1' is not a number above 1; {EXAMPLE}"),
        ("1..9*nan", f"the ratio 'nan' is not a number above 1; {EXAMPLE}"),
        ("1..9*2*3", f"the ratio '2*3' is not a number above 1; {EXAMPLE}"),
        ("1..9+0", "'0' is outside 1 to 1000000; write for example '1..100+10'"),
        ("1..1000000*1.0000011", "12,559,562 points are too many (at most 1,000,000)"),
        ([], f"[] lists no numbers; {EXAMPLE}"),
        ([True], f"True is not a whole number from 1 to 1000000; {EXAMPLE}"),
        ({"from": 1, "to": 2, "count": 2, "spacing": "log"}, "spacing 'log' is unknown (allowed: linear, geometric)"),
        (
            {"from": 1, "too": 2, "count": 2},
            "unknown key 'too' of a range; write for example {from: 1, to: 256, count: 9, spacing: geometric}",
        ),
        (
            {"from": 1, "to": 2},
            "missing key 'count' of a range; write for example {from: 1, to: 256, count: 9, spacing: geometric}",
        ),
    ],
)
def test_a_wrong_list_is_one_line(value, message):
    with pytest.raises(InputError) as caught:
        parse_counts(value)
    assert str(caught.value) == f"--batch: {message}"


def test_too_many_points_are_refused_before_they_are_made():
    with pytest.raises(InputError) as caught:
        parse_counts("1..1000000000", "--context")
    assert str(caught.value) == "--context: 1,000,000,000 points are too many (at most 1,000,000)"


def test_a_geometric_range_cannot_start_at_zero():
    with pytest.raises(InputError) as caught:
        parse_counts("0..8*2", "--shared-prefix", lowest=0)
    assert str(caught.value) == f"--shared-prefix: '0..8*2' cannot grow from 0; {EXAMPLE}"


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.floats(1.001, 100))
def test_a_geometric_range_rises_and_stays_inside(first, last, ratio):
    first, last = sorted((first, last))
    counts = parse_counts(f"{first}..{last}*{ratio}")
    assert counts[0] == first
    assert counts[-1] <= last
    assert counts[-1] * ratio > last * (1 - 1e-6) - ratio
    assert all(after > before for before, after in pairwise(counts))


@given(st.text(max_size=20), st.sampled_from([parse_tokens, parse_counts, parse_ragged]))
def test_no_text_escapes_the_error_family(text, parse):
    message = ""
    try:
        parse(text)
    except InputError as error:
        message = str(error)
    assert "\n" not in message


def test_a_ragged_batch():
    assert parse_ragged("8k*30,128k*2") == ((8192, 30), (131072, 2))
    assert parse_ragged("4k, 9") == ((4096, 1), (9, 1))


def test_a_ragged_batch_from_a_file(tmp_path: Path):
    path = tmp_path / "lengths.txt"
    path.write_text("8k*30, 4k  # chats\n\n# documents\n128k*2\n")
    assert parse_ragged(str(path)) == ((8192, 30), (4096, 1), (131072, 2))


def test_a_wrong_line_of_a_ragged_file_is_named(tmp_path: Path):
    path = tmp_path / "lengths.txt"
    path.write_text("8k*30\n8k*x\n")
    with pytest.raises(InputError) as caught:
        parse_ragged(str(path))
    assert str(caught.value) == (
        f"{path}: line 2: 'x' is not a whole number from 1 to 1000000; write for example '8k*30,128k*2'"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--contexts: lists no sequences; write for example '8k*30,128k*2'"),
        ("8k*0", "--contexts: '0' is outside 1 to 1000000; write for example '8k*30,128k*2'"),
        ("8k,-2", "--contexts: '-2' is not a whole number from 1 to 1000000000; write for example '8k*30,128k*2'"),
        ("8k*600000,4k*600000", "--contexts: 1,200,000 sequences are too many (at most 1,000,000)"),
        ("missing.txt", "missing.txt: cannot be read (No such file or directory)"),
    ],
)
def test_a_wrong_ragged_batch_is_one_line(text, message):
    with pytest.raises(InputError) as caught:
        parse_ragged(text)
    assert str(caught.value) == message
