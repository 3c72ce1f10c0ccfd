"""``kvwall schema``: the JSON schema of each command's document."""

from __future__ import annotations

import json
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from kvwall.simulator.answers import schema as schema_module
from kvwall.simulator.answers.base import Answer
from kvwall.simulator.answers.schema import commands_with_schema

COMMON = {"schema_version", "kvwall_version", "assumptions", "warnings"}


@pytest.mark.parametrize("name", commands_with_schema())
def test_each_answer_has_a_schema_with_the_common_keys(run, name):
    status, out, err = run("schema", name)
    document = json.loads(out)
    assert (status, err) == (0, "")
    assert set(document["required"]) >= COMMON
    assert set(document) >= COMMON
    assert document["title"] == f"{name.title()}Answer"
    assert run("schema", name.upper(), "--json")[1] == out


def test_the_commands_that_answer(run):
    assert {"step", "list", "show", "doctor", "diff"} <= set(commands_with_schema())


@pytest.mark.parametrize("arguments", [("list", "devices"), ("show", "scheme", "kivi")])
def test_a_document_has_the_keys_that_its_schema_requires(run, arguments):
    document = json.loads(run(*arguments, "--json")[1])
    schema = json.loads(run("schema", arguments[0])[1])
    assert set(document) == set(schema["required"]) == set(schema["properties"])


def test_an_unknown_command_is_one_line(run):
    assert run("schema", "stepp") == (2, "", "kvwall: unknown command 'stepp'; did you mean 'step'?\n")
    # A module beside the answers that is none.
    status, out, err = run("schema", "kinds")
    assert (status, out) == (2, "")
    assert err.startswith("kvwall: unknown command 'kinds'")


def test_the_schema_of_a_plug_in(run, monkeypatch):
    module = ModuleType("kvwall_heat")
    module.HeatAnswer = type("HeatAnswer", (Answer,), {"__module__": __name__})
    monkeypatch.setitem(sys.modules, "kvwall_heat", module)
    entries = [
        EntryPoint("heat", "kvwall_heat:heat", "kvwall.commands"),
        EntryPoint("cold", "kvwall_heat:cold", "kvwall.commands"),
        EntryPoint("gone", "kvwall_gone:gone", "kvwall.commands"),
    ]
    monkeypatch.setattr(schema_module, "entry_points", lambda group: entries)
    assert json.loads(run("schema", "heat")[1])["title"] == "HeatAnswer"
    assert run("schema", "cold") == (
        2,
        "",
        "kvwall: command 'cold' tells no schema: kvwall_heat has no class 'ColdAnswer'\n",
    )
    message = "kvwall: command 'gone': kvwall_gone cannot be imported (No module named 'kvwall_gone')\n"
    assert run("schema", "gone") == (2, "", message)
