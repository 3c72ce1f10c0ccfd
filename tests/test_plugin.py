"""A scheme from another distribution: found by its entry point, listed, compared, and held to the same laws."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PLUGIN = Path(__file__).parent / "plugin"
ENTRY = "from kvwall.simulator.cli.main import run; run()"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plug-in as an installer lays it out: its module, and what its project file says as metadata."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    site = tmp_path_factory.mktemp("site")
    (site / "thin.py").write_text((PLUGIN / "thin.py").read_text())
    told = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [line for group, entries in groups for line in (f"[{group}]", *(f"{k} = {v}" for k, v in entries.items()))]
    (told / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return site


def _answer(site: Path, *arguments: str) -> Any:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", ENTRY, *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=site, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_is_listed_and_shown(installed: Path) -> None:
    listed = {row["name"]: row for row in _answer(installed, "list", "schemes")["rows"]}
    assert listed["thin"]["options"] == ["stride=4", "window=256"]
    assert listed["thin"]["axes"] == ["tokens"]


def test_it_is_compared_like_any_other(installed: Path) -> None:
    case = yaml.safe_load((PLUGIN / "case.yaml").read_text())["cases"][0]
    answer = _answer(
        installed, "compare", case["model"], "--on", "h100", "--engine", "none", "--batch", str(case["batch"]),
        "--context", str(case["context"]), "--schemes", "none;thin;kivi+thin",
    )  # fmt: skip
    dense, thin, both = answer["rows"]
    for name, expected in case["expect"].items():
        assert thin[name] == expected, case["derivation"]
    assert thin["ratio_to_first"] > 1
    assert both["scheme"] == "thin+kivi"
    assert both["kv_stored_bytes"] < thin["kv_stored_bytes"] < dense["kv_stored_bytes"]


def test_all_schemes_are_those_of_plug_ins_as_well(installed: Path) -> None:
    rows = _answer(installed, "compare", "llama-3.1-8b", "--on", "h100", "--schemes", "all")["rows"]
    assert "thin" in {row["scheme"] for row in rows}


def test_two_schemes_on_one_axis_are_refused_wherever_they_are_from(installed: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", ENTRY, "step", "llama-3.1-8b", "--on", "h100", "--scheme", "snapkv+thin"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "kvwall: scheme 'snapkv+thin': both 'snapkv' and 'thin' shrink the tokens\n"


@pytest.mark.parametrize(("block", "file"), [("python", "thin.py"), ("toml", "pyproject.toml"), ("yaml", "case.yaml")])
def test_the_walk_through_shows_the_files_that_are_tested(block: str, file: str) -> None:
    text = (ROOT / "docs" / "adding-a-scheme.md").read_text()
    shown = text.partition(f"```{block}\n")[2].partition("```")[0]
    assert shown == (PLUGIN / file).read_text()
