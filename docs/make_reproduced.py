"""Writes docs/reproduced.md and docs/reproduced.svg: published results beside their predictions.

Run it from the root of the repository after a change of the model's numbers: ``python docs/make_reproduced.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from pathlib import Path

from kvwall.validate.reproduce_cli import summary
from kvwall.validate.reproducing.paper import read_papers
from kvwall.validate.reproducing.reproduce import VERDICTS, Reproduction, reproduce

ROOT = Path(__file__).resolve().parent

HEAD = """# Published results, predicted

`kvwall reproduce` predicts every row below from the equations of the scheme, for the machine, the model and the
baseline of the paper. No published figure, and no ratio of two, stands in the model (a test looks for them). A
baseline is an engine profile that all rows with that baseline share: `hf` concatenates its cache at every step, for
example. Kernels of papers are priced by class defaults, not by a fit, unless a row names a calibration.

*reproduced*: within 10 % either way, or inside a published range. *close*: within 25 %. *off*: the reason found stands
below the table. *not predictable*: what is missing stands there.

{summary}

![predicted against published](reproduced.svg)
"""

#: The plot: published figure on a logarithmic axis, ratio of predicted to published on the other.
_WIDTH, _HEIGHT, _MARGIN = 900, 420, 60
#: Colours that the colour-blind can tell apart (Okabe and Ito 2008).
_COLOURS = {"reproduced": "#009E73", "close": "#E69F00", "off": "#D55E00"}
_RATIOS = (0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0)


def markdown(rows: tuple[Reproduction, ...], told: str) -> str:
    """The page."""
    papers = {paper.system: paper.paper for paper in read_papers().values()}
    parts = [HEAD.format(summary=told), _by_system(rows, papers)]
    for system, paper in papers.items():
        parts.append(_system(system, paper, [row for row in rows if row.system == system]))
    return "\n".join(parts)


def _by_system(rows: Iterable[Reproduction], papers: dict[str, str]) -> str:
    lines = ["| system | rows | " + " | ".join(VERDICTS) + " |", "|---|" + "---|" * (len(VERDICTS) + 1)]
    for system in papers:
        own = [row.verdict for row in rows if row.system == system]
        lines.append(f"| {system} | {len(own)} | " + " | ".join(str(own.count(name)) for name in VERDICTS) + " |")
    return "\n".join(lines) + "\n"


def _system(system: str, paper: str, rows: list[Reproduction]) -> str:
    lines = [f"## {system}", "", paper, "", "| row | claim | published | predicted | unit | ratio | verdict |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in rows:
        low, high = row.published if isinstance(row.published, tuple) else (row.published, row.published)
        published = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
        predicted = "-" if row.predicted is None else f"{row.predicted:.4g}"
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        cells = (row.id, row.claim, published, predicted, row.unit, ratio, row.verdict)
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    notes = [f"- {row.id}: {row.note}" for row in rows if row.note]
    return "\n".join([*lines, "", *notes, *([""] if notes else [])])


def picture(rows: tuple[Reproduction, ...]) -> str:
    """Ratio of predicted to published over the published figure, one point a row, as SVG."""
    shown = [row for row in rows if row.ratio is not None and row.predicted]
    figures = [_published(row) for row in shown]
    low, high = math.floor(math.log10(min(figures))), math.ceil(math.log10(max(figures)))
    across, down = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN
    top = math.log(_RATIOS[-1])

    def x(figure: float) -> float:
        return _MARGIN + across * (math.log10(figure) - low) / max(high - low, 1)

    def y(ratio: float) -> float:
        return _MARGIN + down * (1 - max(-1.0, min(1.0, math.log(ratio) / top))) / 2

    made = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<rect x="{_MARGIN}" y="{y(1.25):.1f}" width="{across}" height="{y(0.8) - y(1.25):.1f}" fill="#eee"/>',
    ]
    for ratio in _RATIOS:
        made.append(_line(_MARGIN, y(ratio), _WIDTH - _MARGIN, y(ratio), "#888" if ratio == 1 else "#ccc"))
        made.append(_text(_MARGIN - 8, y(ratio) + 4, f"{ratio:g}", "end"))
    for decade in range(low, high + 1, max(1, (high - low) // 12)):
        made.append(_text(x(10.0**decade), _HEIGHT - _MARGIN + 18, f"1e{decade}", "middle"))
    for row, figure in zip(shown, figures, strict=True):
        told = escape(f"{row.system}: {row.id}, published {figure:.4g} {row.unit}, predicted {row.predicted:.4g}")
        made.append(
            f'<circle cx="{x(figure):.1f}" cy="{y(row.ratio or 1.0):.1f}" r="4" fill="{_COLOURS[row.verdict]}" '
            f'fill-opacity="0.75"><title>{told}</title></circle>'
        )
    made.append(_text(_WIDTH / 2, _HEIGHT - 14, "published figure, in its own unit", "middle"))
    made.append(
        _text(_MARGIN, _MARGIN - 30, "predicted / published (4x and beyond at the edge; grey: within 25 %)", "start")
    )
    for place, (name, colour) in enumerate(_COLOURS.items()):
        made.append(f'<circle cx="{_WIDTH - 330 + 110 * place}" cy="{_MARGIN - 34}" r="5" fill="{colour}"/>')
        made.append(_text(_WIDTH - 320 + 110 * place, _MARGIN - 30, name, "start"))
    return "\n".join([*made, "</svg>", ""])


def _published(row: Reproduction) -> float:
    """The published figure; of a range the end that is nearest, or the prediction itself inside it."""
    return (row.predicted or 1.0) / (row.ratio or 1.0)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#333">{escape(text)}</text>'


if __name__ == "__main__":
    answer = reproduce()
    (ROOT / "reproduced.md").write_text(markdown(answer.rows, summary(answer) + "."))
    (ROOT / "reproduced.svg").write_text(picture(answer.rows))
