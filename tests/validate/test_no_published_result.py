"""No published result stands in the code that predicts it: neither a figure of a paper nor the ratio of two."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvwall.validate.reproducing.paper import Paper, read_papers
from kvwall.validate.reproducing.units import UNITS

SIMULATOR = Path(__file__).parents[2] / "simulator"

#: Figures below three significant digits say nothing of where they are from.
_DIGITS = 3

#: A figure of the code that happens to be published as well, by file and value, with what it really is.
ALLOWED: dict[tuple[str, float], str] = {
    **{
        (file, 192): "width of a tile or of a head, in the launch plans of kernels"
        for file in (
            "io/on_chip.py", "io/tiles.py", "kernel_time/decode_flash.py", "kernel_time/gemm_menu.py",
            "kernel_time/prefill_plans.py", "predicting/shapes.py",
        )
    },
    ("io/tiles.py", 176): "rows of a tile of FlashAttention-3 for heads of 128",
    ("io/on_chip.py", 10.3): "compute capability of a device",
    ("engine_constants.py", 1.12): "least band of a rate on a machine that no served series is of",
    ("figures/agreement.py", 1.25): "lines of a picture a quarter above and a fifth below",
    ("pages.py", 1.25): "a quarter more layers, from the code of an engine",
    ("predicting/agreement.py", 0.975): "half of a confidence of 95 percent",
    ("predicting/choosing.py", 1.2816): "half of a central 80 % band in standard deviations",
    ("prices.py", 1.2816): "half of a central 80 % band in standard deviations",
    ("schemes/instinfer.py", 0.125): "an eighth of the tokens, an option's default",
    ("sensitivity.py", 257): "points of a curve",
}  # fmt: skip


def _significant(text: str) -> int:
    """Significant digits of a number as it is written; zeros at either end do not count."""
    mantissa = text.lower().replace("_", "").lstrip("+-").partition("e")[0]
    return len(mantissa.replace(".", "").strip("0"))


def _is_power_of_two(value: float) -> bool:
    return value > 0 and float(value).is_integer() and int(value) & (int(value) - 1) == 0


def _literals(path: Path) -> Iterator[tuple[int, float, str]]:
    """Numbers of three digits and more in the code of a file: line, value, as written."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and type(node.value) in {int, float}:
            text = ast.get_source_segment(source, node) or repr(node.value)
            if not text.lower().startswith("0x") and _significant(text) >= _DIGITS:
                yield node.lineno, float(node.value), text


def _published(paper: Paper) -> dict[float, str]:
    """Every figure of a paper in its unit and in base units, and the ratios of neighbours of one unit and quantity.

    Neighbours are what a table sets side by side. The ratios of all pairs of a long table would meet any number.
    """
    figures: dict[float, str] = {}
    last: dict[tuple[str, str | None], tuple[str, float]] = {}
    for row in paper.rows:
        for end in set(row.ends):
            if _significant(f"{end:.10g}") >= _DIGITS:
                figures[end] = row.id
                figures[end * UNITS[row.unit]] = row.id
        kind = (row.unit, row.quantity)
        if kind in last:
            before, value = last[kind]
            for ratio in (row.ends[0] / value, value / row.ends[0]):
                if _significant(f"{ratio:.10g}") >= _DIGITS:
                    figures[ratio] = f"{row.id} and {before}"
        last[kind] = (row.id, row.ends[0])
    return figures


def _same(literal: float, text: str, figure: float) -> bool:
    """Whether ``literal`` is ``figure`` to the digits in which it is written."""
    if literal == figure:
        return True
    decimals = len(text.lower().partition("e")[0].partition(".")[2])
    return bool(decimals) and "e" not in text.lower() and round(figure, decimals) == literal


PAPERS = read_papers()
FILES = sorted(SIMULATOR.rglob("*.py"))
LITERALS = [(path, *found) for path in FILES for found in _literals(path)]


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_no_figure_of_a_paper_is_a_number_of_the_simulator(path: Path) -> None:
    figures = _published(PAPERS[path])
    found = [
        f"{file.relative_to(SIMULATOR)}:{line}: {text} is {row}"
        for file, line, value, text in LITERALS
        if not _is_power_of_two(value) and (file.relative_to(SIMULATOR).as_posix(), value) not in ALLOWED
        for figure, row in figures.items()
        if _same(value, text, figure)
    ]
    assert found == []


def test_the_search_finds_what_stands_there(tmp_path: Path) -> None:
    file = tmp_path / "scheme.py"
    file.write_text("SPEED_UP = 2.35\nSAVED = 0.0235e2\nPAGE = 512\nSMALL = 1.5\n")
    assert [(line, text) for line, _, text in _literals(file)] == [(1, "2.35"), (2, "0.0235e2"), (3, "512")]
    assert _same(2.35, "2.35", 2.354)
    assert not _same(2.35, "2.35", 2.36)


def test_what_is_allowed_still_stands_there() -> None:
    there = {(file.relative_to(SIMULATOR).as_posix(), value) for file, _, value, _ in LITERALS}
    assert set(ALLOWED) <= there
    assert all(len(reason.split()) > 3 for reason in ALLOWED.values())
