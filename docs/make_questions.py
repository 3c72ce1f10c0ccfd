"""Writes docs/questions.md: every question of tests/questions.yaml and tests/inverse_questions.yaml, its commands run.

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

INVERSE_HEAD = """# Inverse questions

What planners ask the other way round: the value at which a target is just met. `tests/inverse_questions.yaml` holds
them as data. Each answer of `kvwall solve` is put back into another command, at the answer and one step beyond, and
`tests/test_inverse_questions.py` holds that what was asked holds at the first and no longer at the second. A thread
that is named asks a question of this kind; models and figures are examples.
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


def inverse_questions() -> list[dict[str, Any]]:
    """The inverse questions as data."""
    found: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests" / "inverse_questions.yaml").read_text())
    return found


@dataclass(frozen=True)
class Substituted:
    """A number of another command, with a value of the unknown put in.

    :ivar value: what was put in
    :ivar measured: the number
    :ivar limit: what it must be at most, or at least
    """

    value: float
    measured: float
    limit: float
    at_most: bool

    @property
    def holds(self) -> bool:
        """Whether what was asked holds; a part in 1e7 is the rounding of the value as typed."""
        slack = self.limit * 1e-7
        return self.measured <= self.limit + slack if self.at_most else self.measured >= self.limit - slack


def substituted(check: dict[str, Any], value: float) -> Substituted:
    """The check of an inverse question with ``value`` put in."""
    written = written_out(value)
    _, document = ask(check["command"].replace("{x}", written))
    measured = _middle(look_up(document, check["at"])) * check.get("times", 1.0)
    if "over" in check:
        measured /= _middle(look_up(document, check["over"]))
    limit = check.get("most", check.get("least"))
    return Substituted(value, measured, float(str(limit).replace("{x}", written)), "most" in check)


def written_out(value: float) -> str:
    """A value as an option of the command line."""
    return str(int(value)) if value == int(value) and value < 1e9 else f"{value:.9g}"


def values_of(question: dict[str, Any], answer: dict[str, Any]) -> tuple[float, ...]:
    """The values that are put back: the answer and one step beyond, or the one that is tried without an answer."""
    how = question.get("x", {})
    if "tried" in how:
        return (float(how["tried"]),)
    found = float(answer["answer"])
    at = float(round(found * how["round_of"])) if "round_of" in how else found
    return at, at * question["beyond"].get("times", 1.0) + question["beyond"].get("add", 0.0)


def inverse_section(question: dict[str, Any], answer: dict[str, Any], tried: list[list[Substituted]]) -> str:
    """One inverse question of the page; ``tried`` has one list of values for each check."""
    checks = question["checks"]
    runs = "\n".join(map(typed, [question["command"], *(check["command"] for check in checks)]))
    if answer["answer"] is None:
        told = f"Never: {answer['never_because']}."
    else:
        band = answer["answer_band"]
        spread = f" ({_figures(band['low'])} to {_figures(band['high'])})" if band else ""
        told = f"Answer: **{_figures(answer['answer'])} {answer['unit']}**{spread}, binding: {answer['binding']}."
    rows = "\n".join(
        f"| {check['what']} | {'<=' if one.at_most else '>='} {_figures(one.limit)} | {_figures(one.value)} | "
        f"{_figures(one.measured)} | {'holds' if one.holds else 'missed'} |"
        for check, all_of_it in zip(checks, tried, strict=True)
        for one in all_of_it
    )
    thread = f"{question['thread']}. " if "thread" in question else ""
    text = f"## {question['id']}: {question['question']}\n\n{thread}{told}\n\n```\n{runs}\n```\n"
    text += f"\n| put back | asked | x | found | |\n|---|---|---|---|---|\n{rows}\n"
    return text + "\n" + textwrap.fill(question["why"].strip(), 118, break_on_hyphens=False) + "\n"


def _figures(value: float) -> str:
    """Six digits: enough to tell a value that just meets a target from one that just misses it."""
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e9 else f"{value:.6g}"


def inverse_page() -> str:
    """The part of the page that holds the inverse questions."""
    sections = []
    for question in inverse_questions():
        answer = ask(question["command"])[1]
        values = values_of(question, answer)
        tried = [[substituted(check, value) for value in values] for check in question["checks"]]
        sections.append(inverse_section(question, answer, tried))
    return "\n".join([INVERSE_HEAD, *sections])


def page() -> str:
    """The whole page."""
    sections, index = [], []
    for question in questions():
        documents = [ask(run["command"])[1] for run in question["runs"]]
        sections.append(section(question, [figure(spec, documents) for spec in question["figures"]]))
        index.append(f"| {question['id']} | {question['question']} | {question['verdict']} |")
    table = "\n".join(["| id | question | verdict |", "|---|---|---|", *index])
    return "\n".join([HEAD, table, "", *sections, inverse_page()])


if __name__ == "__main__":
    (ROOT / "docs" / "questions.md").write_text(page())
