"""Inverse questions: each answer holds where it is put back, ceases to hold beyond, and docs/questions.md quotes it."""

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
QUESTIONS: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests" / "inverse_questions.yaml").read_text())
UNKNOWNS = {"context", "batch", "bandwidth", "bits", "keep", "gpus", "price", "utilization"}


def _page_maker() -> ModuleType:
    spec = spec_from_file_location("make_questions", ROOT / "docs" / "make_questions.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = _page_maker()


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("question", QUESTIONS, ids=[question["id"] for question in QUESTIONS])
def test_an_answer_holds_where_it_is_put_back_and_not_beyond(question: dict[str, Any]) -> None:
    status, answer = MAKER.ask(question["command"])
    assert {"answer", "roots", "binding", "never_because"} <= set(answer)
    never = "tried" in question.get("x", {})
    assert (answer["answer"] is None, status) == (never, int(never))
    assert (answer["never_because"] is None, answer["binding"] is None) == (not never, never)
    values = MAKER.values_of(question, answer)
    tried = [[MAKER.substituted(check, value) for value in values] for check in question["checks"]]
    for check, found in zip(question["checks"], tried, strict=True):
        assert [one.holds for one in found] == ([False] if never else [True, False])
        if check.get("just"):
            assert found[0].measured == pytest.approx(found[0].limit, rel=1e-6)
    part = re.split(r"^## ", (ROOT / "docs" / "questions.md").read_text(), flags=re.MULTILINE)
    quoted = next(text for text in part if text.startswith(f"{question['id']}:"))
    stale = "run python docs/make_questions.py: docs/questions.md is not what the commands print"
    assert quoted.strip() == MAKER.inverse_section(question, answer, tried).removeprefix("## ").strip(), stale


def test_every_unknown_is_asked_for_and_some_answers_are_never() -> None:
    asked = {match[1] for question in QUESTIONS if (match := re.search(r"--for (\w+)", question["command"]))}
    assert asked == UNKNOWNS
    assert sum("tried" in question.get("x", {}) for question in QUESTIONS) >= 2
    assert sum("--between" in question["command"] for question in QUESTIONS) >= 3
