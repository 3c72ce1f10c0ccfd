"""``kvwall reproduce``: verdicts, quantities against hand arithmetic, and what is wrong with a file of papers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kvwall.hardware.document import validate_mapping
from kvwall.hardware.errors import InputError
from kvwall.validate.reproducing.paper import Claim, Paper, read_papers
from kvwall.validate.reproducing.point import point_of, quantities, quantity_of
from kvwall.validate.reproducing.reproduce import reproduce, reproduction, verdict_of

ROW = {
    "id": "a-row", "claim": "bytes of a token", "published": 131072, "unit": "B", "source": "arithmetic",
    "known_from": "paper text", "quantity": "kv_bytes_per_token", "setup": {},
}  # fmt: skip
WORDS = {"model": "llama-3.1-8b", "on": "h100", "engine": "none"}


def paper(**changes: Any) -> Paper:
    rows = [{key: value for key, value in {**ROW, **changes}.items() if value is not None}]
    found = {"system": "A", "paper": "a paper", "defaults": WORDS, "rows": rows}
    return validate_mapping(found, Paper, "papers/a.yaml")


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [(1.0, "reproduced"), (1.1, "reproduced"), (1 / 1.1, "reproduced"), (1.11, "close"), (0.81, "close"),
     (1.26, "off"), (0.79, "off"), (0.0, "off"), (None, "not predictable")],
)  # fmt: skip
def test_verdict(ratio: float | None, verdict: str) -> None:
    assert verdict_of(ratio) == verdict


def test_a_ratio_divides_the_first_by_the_second() -> None:
    """Eight bits take half of sixteen."""
    made = paper(published=2, unit="x", quantity="kv_stored_bytes", against={"scheme": "fp8"})
    found = reproduction(Path("a.yaml"), made, made.rows[0])
    assert found.predicted == 2.0
    assert found.verdict == "reproduced"


def test_inside_a_published_range_the_ratio_is_one() -> None:
    made = paper(published=[100_000, 200_000])
    assert reproduction(Path("a.yaml"), made, made.rows[0]).ratio == 1.0
    made = paper(published=[262_144, 300_000])
    assert reproduction(Path("a.yaml"), made, made.rows[0]).ratio == 0.5


def test_units_divide() -> None:
    made = paper(published=128, unit="KiB")
    assert reproduction(Path("a.yaml"), made, made.rows[0]).predicted == 128.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unit": "furlong"}, "unit 'furlong' is not one of"),
        ({"quantity": None}, "needs either a quantity or not_predictable"),
        ({"not_predictable": "unknown"}, "needs either a quantity or not_predictable"),
        ({"published": -1}, "is not above 0"),
        ({"published": [2, 1]}, "is not above 0, or its ends are in no order"),
    ],
)
def test_bad_row(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        paper(**changes)
    assert str(error.value).startswith("papers/a.yaml: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantity": "kv_stord_bytes"}, "unknown quantity 'kv_stord_bytes'; did you mean 'kv_stored_bytes'"),
        ({"setup": {"bach": 3}}, "unknown word 'bach'; did you mean 'batch'"),
        ({"setup": {"scheme": "kiwi"}}, "unknown scheme 'kiwi'; did you mean 'kivi'"),
    ],
)
def test_bad_question_names_file_and_row(changes: dict[str, Any], message: str) -> None:
    made = paper(**changes)
    with pytest.raises(InputError) as error:
        reproduction(Path("papers/a.yaml"), made, made.rows[0])
    assert str(error.value).startswith(f"a.yaml: row a-row: {message}")


def test_quantities_by_hand() -> None:
    """Llama-2-7B of 16 bits: 524,288 bytes a token; a step of one sequence reads its cache and all weights once."""
    point = point_of(WORDS, {"model": "llama-2-7b", "batch": 2, "context": 1000})
    assert quantity_of("kv_stored_bytes")(point) == 524_288 * 2000
    assert quantity_of("kv_bits_per_element")(point) == 16.0
    assert quantity_of("kv_read_bytes")(point) == 524_288 * 2000
    # Scores and weighted sum: 4 x 32 heads x 128 channels x 32 layers x 2,000 tokens.
    assert quantity_of("attention_flops")(point) == 4 * 32 * 128 * 32 * 2000
    assert quantity_of("ideal_attention_s")(point) <= quantity_of("attention_s")(point)
    longest = quantity_of("max_context")(point)
    assert bool(point.capacity.fits(2.0, longest))
    assert not bool(point.capacity.fits(2.0, longest + 1))


def test_a_whole_answer_lies_between_its_first_and_its_last_step() -> None:
    point = point_of(WORDS, {"batch": 4, "input": 1000, "output": 200})
    seconds = quantity_of("decode_s")(point)
    first, last = (quantity_of("step_s")(point_of(WORDS, {"batch": 4, "context": n})) for n in (1000, 1200))
    assert 200 * first < seconds < 200 * last
    whole = quantity_of("offline_tokens_per_s")(point)
    assert whole == pytest.approx(800 / (seconds + quantity_of("prefill_s")(point)))


PAPERS = read_papers()
CLAIMS = [(path, made, claim) for path, made in PAPERS.items() for claim in made.rows]


def test_every_paper_is_predicted_and_every_miss_has_its_reason() -> None:
    found = {row.id: row for row in reproduce().rows}
    for _, _, claim in CLAIMS:
        row = found[claim.id]
        assert (row.verdict == "off") <= bool(claim.why_off), f"{claim.id}: off without a reason"
        assert (row.predicted is None) == (claim.not_predictable is not None)


def test_counts_of_all_papers() -> None:
    """70 % of all rows and 80 % of the predictable ones are reproduced or close, and at most 15 % not predictable."""
    rows = reproduce().rows
    good = sum(1 for row in rows if row.verdict in {"reproduced", "close"})
    predictable = [row for row in rows if row.verdict != "not predictable"]
    assert len(rows) >= 800
    assert good >= 0.7 * len(rows)
    assert good >= 0.8 * len(predictable)
    assert len(rows) - len(predictable) <= 0.15 * len(rows)


def test_quantities_are_documented() -> None:
    assert all(function.__doc__ for function in quantities().values())
    assert isinstance(CLAIMS, list)
    assert all(isinstance(claim, Claim) for _, _, claim in CLAIMS)
