"""Questions of public threads: commands give what the threads measured, and docs/questions.md quotes what they give."""

from __future__ import annotations

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
QUESTIONS: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests" / "questions.yaml").read_text())


def _page_maker() -> ModuleType:
    spec = spec_from_file_location("make_questions", ROOT / "docs" / "make_questions.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = _page_maker()
PAGE = (ROOT / "docs" / "questions.md").read_text()


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("question", QUESTIONS, ids=[question["id"] for question in QUESTIONS])
def test_a_question_is_answered_and_the_page_quotes_the_answer(question: dict[str, Any]) -> None:
    documents = []
    for run in question["runs"]:
        status, document = MAKER.ask(run["command"])
        assert status == run.get("exit", 0), run["command"]
        documents.append(document)
    figures = [MAKER.figure(spec, documents) for spec in question["figures"]]
    assert [f for f in figures if f.verdict == "off"] == []
    if question["verdict"] == "right":
        assert any(f.verdict == "right" for f in figures)
    part = re.split(r"^##? ", PAGE, flags=re.MULTILINE)
    quoted = next(text for text in part if text.startswith(f"{question['id']}:"))
    stale = "run python docs/make_questions.py: docs/questions.md is not what the commands print"
    assert quoted.strip() == MAKER.section(question, figures).removeprefix("## ").strip(), stale


def test_every_question_has_a_verdict_of_the_four_and_most_are_right() -> None:
    verdicts = [question["verdict"] for question in QUESTIONS]
    assert set(verdicts) == {"right", "within band", "close", "open"}
    assert verdicts.count("right") >= 12
    assert all(
        f"| {question['id']} | {question['question']} | {question['verdict']} |" in PAGE for question in QUESTIONS
    )
