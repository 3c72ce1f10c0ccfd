"""Writes docs/questions.md: every question of tests/questions.yaml, its commands run, the figures beside the truth.

Run it from the root of the repository after a change of the model's numbers: ``python docs/make_questions.py``.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import textwrap
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kvwall.simulator.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
UNITS = {"GiB": 2.0**30, "KiB": 2.0**10, "GB": 1e9, "ms": 1e-3}
_SEGMENT = re.compile(r"(\w+)(?:\[(.+)\])?$")

HEAD = """# Questions that planners asked

Taken from public threads, answered by the command line as a user would type it. *Truth* is what the thread measured or
stated. `tests/questions.yaml` holds the questions as data, `tests/test_questions.py` runs every command below and holds
each figure against the truth, and `python docs/make_questions.py` writes this page. Times on cards of a
measured architecture are by calibrated kernels; the others carry the wide band of class defaults.

*right*: every figure agrees within the tolerance of its row (10 % for memory, 5 % for money, none for bytes).
*within band*: the truth lies between the low and the high end. *close*: within 30 %, with a stand-in or an input that
the thread does not give, as told. *open*: off, or the tool cannot say; the reason stands below.
"""


@dataclass(frozen=True)
class Figure:
    """One number or word of an answer beside the truth.

    :ivar what: what it is
    :ivar printed: how this page prints it
    :ivar truth: how this page prints the truth; empty where the thread has none
    :ivar verdict: "", "right", "within band" or "off"
    :ivar off: relative difference and its tolerance, or the band, in words
    """

    what: str
    printed: str
    truth: str
    verdict: str
    off: str


def questions() -> list[dict[str, Any]]:
    """The questions as data."""
    found: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests" / "questions.yaml").read_text())
    return found


def ask(command: str) -> tuple[int, dict[str, Any]]:
    """Exit status and JSON of one command, run as the command line does."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main([*shlex.split(command), "--json"])
    if not out.getvalue():
        raise SystemExit(f"kvwall {command}: status {status}, {err.getvalue().strip()}")
    return status, json.loads(out.getvalue())


def look_up(document: Any, path: str) -> Any:
    """The value at ``path``: keys with dots between them, ``[2]`` a place in a list, ``[what=tokens]`` an item."""
    for segment in re.split(r"\.(?![^\[]*\])", path):
        match = _SEGMENT.match(segment)
        if match is None:
            raise SystemExit(f"path {path!r}: {segment!r} is not a key")
        document = document[match[1]]
        if match[2] and "=" not in match[2]:
            document = document[int(match[2])]
        elif match[2]:
            wanted = dict(pair.split("=") for pair in match[2].split(","))
            document = next(item for item in document if all(str(item[k]) == v for k, v in wanted.items()))
    return document


def said(value: Any) -> str:
    """A word or a yes or no."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def shown(value: float) -> str:
    """A number as this page prints it: whole and grouped from a thousand, else three digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def figure(spec: dict[str, Any], documents: list[dict[str, Any]]) -> Figure:
    """One figure of a question, looked up, scaled and held against its truth."""
    unit = UNITS.get(spec.get("unit", ""), 1.0)
    value = look_up(documents[spec.get("run", 0)], spec["at"])
    if "over" in spec:
        value = _middle(value) / _middle(look_up(documents[spec["over"]["run"]], spec["over"]["at"]))
    truth = spec.get("truth")
    if isinstance(value, str | bool):
        same = "right" if value == truth else "off"
        return Figure(spec["what"], said(value), said(truth), same, "")
    middle = _middle(value) / unit * spec.get("times", 1.0)
    printed, suffix = shown(middle), f" {spec['unit']}" if spec.get("unit") else ""
    off, verdict = "", ""
    if truth is not None and spec.get("band"):
        low, high = (value[end] / unit * spec.get("times", 1.0) for end in ("low", "high"))
        verdict = "within band" if low <= truth <= high else "off"
        off = f"{middle / truth - 1:+.1%}, band {shown(low)} to {shown(high)}"
    elif truth is not None:
        error = round(middle / truth - 1, 4) + 0.0
        verdict = "right" if abs(error) <= spec["within"] else "off"
        off = f"{error:+.1%} (±{spec['within']:.0%})" if spec["within"] else "exact" if not error else f"{error:+.2%}"
    return Figure(spec["what"], printed + suffix, "" if truth is None else shown(truth) + suffix, verdict, off)


def _middle(value: Any) -> float:
    return float(value["mid"] if isinstance(value, dict) else value)


def section(question: dict[str, Any], figures: list[Figure]) -> str:
    """One question of the page."""
    runs = "\n".join(typed(run["command"]) for run in question["runs"])
    rows = "\n".join(f"| {f.what} | {f.printed} | {f.truth or '-'} | {f.off or '-'} |" for f in figures)
    text = f"## {question['id']}: {question['question']}\n\n{question['thread']}. Verdict: **{question['verdict']}**.\n"
    text += f"\n```\n{runs}\n```\n\n| figure | kvwall | truth | off |\n|---|---|---|---|\n{rows}\n"
    return text + "\n" + textwrap.fill(question["why"].strip(), 118, break_on_hyphens=False) + "\n"


def typed(command: str) -> str:
    """The command as typed, in lines of at most 100 columns."""
    lines, words = ["kvwall"], re.findall(r'(?:[^\s"]|"[^"]*")+', command)
    for word in words:
        if len(lines[-1]) + len(word) > 97:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {word}"
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    sections, index = [], []
    for question in questions():
        documents = [ask(run["command"])[1] for run in question["runs"]]
        sections.append(section(question, [figure(spec, documents) for spec in question["figures"]]))
        index.append(f"| {question['id']} | {question['question']} | {question['verdict']} |")
    table = "\n".join(["| id | question | verdict |", "|---|---|---|", *index])
    return "\n".join([HEAD, table, "", *sections])


if __name__ == "__main__":
    (ROOT / "docs" / "questions.md").write_text(page())
