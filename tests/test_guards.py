"""Guards of the shape of the repository: packages, schemes, imports and file sizes."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from kvwall.hardware.errors import canonical
from kvwall.simulator.scheme import Scheme
from kvwall.simulator.stack import parse_stack
from kvwall.workloads.model_spec import MODELS
from kvwall.workloads.scenario import SCENARIOS

ROOT = Path(__file__).parents[1]
FLOORS = ("hardware", "workloads", "simulator", "validate")
CASES = ROOT / "tests" / "cases"
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
SOURCES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
SCHEMES = sorted(path.stem for path in (ROOT / "simulator" / "schemes").glob("*.py") if path.stem != "__init__")
HEAVY = {"torch", "triton", "scipy", "plotly", "dash", "dask", "pyarrow"}


def _where(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _imported(path: Path) -> set[str]:
    """Top-level names of all absolute imports of a file, wherever they stand."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_the_package_list_is_the_tree():
    folders = {path.parent for path in SOURCES}
    tree = {"kvwall." + _where(folder).replace("/", ".") for folder in folders}
    assert set(SETUPTOOLS["packages"]) == tree
    assert [_where(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_every_data_file_is_packaged():
    globs = {
        f"{package.removeprefix('kvwall.').replace('.', '/')}/{pattern}"
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
    }
    data = [
        _where(path) for floor in FLOORS for path in (ROOT / floor).rglob("*.*") if path.suffix in (".yaml", ".typed")
    ]
    assert [path for path in data if not any(fnmatch(path, pattern) for pattern in globs)] == []


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_file_defines_one_scheme_of_its_name(name):
    module = importlib.import_module(f"kvwall.simulator.schemes.{name}")
    own = [item for item in vars(module).values() if isinstance(item, type) and item.__module__ == module.__name__]
    schemes = [item for item in own if issubclass(item, Scheme)]
    assert [canonical(scheme.name) for scheme in schemes] == [canonical(name)]


def test_every_scheme_has_a_case_file_and_every_case_file_a_scheme():
    if not CASES.is_dir():
        pytest.skip("tests/cases does not exist")
    assert sorted(path.stem for path in CASES.glob("*.yaml")) == SCHEMES


@pytest.mark.parametrize("name", SCENARIOS.names)
def test_a_built_in_scenario_compares_schemes_that_its_model_allows(name):
    scenario = SCENARIOS.load(name)
    stacks = [parse_stack(text) for text in scenario.schemes]
    for stack in stacks:
        stack.check(MODELS.load(scenario.model))
    assert stacks[0].text == "none"
    assert len({stack.text for stack in stacks}) == len(scenario.schemes)


def test_the_command_line_starts_without_heavy_imports():
    script = (
        "import json, sys\n"
        "sys.argv = ['kvwall', '--help']\n"
        "from kvwall.simulator.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in json.loads(done.stderr)}
    assert loaded & HEAVY == set()
    assert "kvwall" in loaded


def test_no_file_is_long():
    lengths = {_where(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: length for path, length in lengths.items() if length > 300} == {}


def test_no_floor_is_imported_as_a_top_level_package():
    files = [*SOURCES, *(ROOT / "tests").rglob("*.py")]
    assert {
        _where(path): sorted(_imported(path) & set(FLOORS)) for path in files if _imported(path) & set(FLOORS)
    } == {}


def test_only_validate_may_import_a_gpu_library():
    lower = [path for path in SOURCES if not _where(path).startswith("validate/")]
    assert [_where(path) for path in lower if _imported(path) & {"torch", "triton"}] == []


def test_no_input_is_checked_with_assert():
    found = [
        f"{_where(path)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert found == []


@pytest.mark.parametrize("floor", FLOORS)
def test_type_checkers_see_every_floor(floor):
    assert (ROOT / ".typing" / "kvwall" / floor).resolve() == ROOT / floor
