"""``kvwall sweep``: a table beside one JSON document, and a study that is not one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

Run = Callable[..., tuple[int, str, str]]

STUDY = "model: [llama-3.1-8b]\non: [h100]\nscheme: [none, fp8]\nbatch: [1, 8]\ncontext: 1k..4k*2\n"
KEYS = {
    "schema_version", "kvwall_version", "assumptions", "warnings", "study", "output", "fingerprint", "points",
    "combinations", "resumed", "parts", "seconds", "points_per_s",
}  # fmt: skip


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two schemes at two batches and three contexts."""
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def test_json_is_one_document_of_the_fixed_keys(run: Run, study: Path, tmp_path: Path) -> None:
    status, stdout, _ = run("sweep", study, "-o", tmp_path / "table.parquet", "--json")
    answer = json.loads(stdout)
    assert status == 0
    assert set(answer) == KEYS
    assert (answer["points"], answer["combinations"], answer["resumed"]) == (2 * 2 * 3, 2, 0)
    assert pq.ParquetFile(tmp_path / "table.parquet").read().num_rows == 12


def test_people_read_how_many_and_how_fast(run: Run, study: Path, tmp_path: Path) -> None:
    status, stdout, _ = run("sweep", study, "-o", tmp_path / "parts")
    lines = " ".join(stdout.split())
    assert status == 0
    assert lines.startswith(f"12 points of 2 combinations in {tmp_path / 'parts'}".replace("\n", " "))
    assert "million points a second" in lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (STUDY.replace("scheme:", "shceme:"), "did you mean 'scheme'"),
        (STUDY.replace("1k..4k*2", "4k..1k*2"), "context"),
        ("[]\n", "study.yaml"),
    ],
)
def test_a_bad_study_is_one_line(run: Run, study: Path, tmp_path: Path, text: str, message: str) -> None:
    study.write_text(text)
    status, stdout, stderr = run("sweep", study, "-o", tmp_path / "table.parquet")
    assert (status, stdout, stderr.count("\n")) == (2, "", 1)
    assert message in stderr
    assert not (tmp_path / "table.parquet").exists()


def test_no_output_is_bad_usage(run: Run, study: Path) -> None:
    assert run("sweep", study) == (2, "", "kvwall: Missing option '-o' / '--output' (see kvwall sweep --help)\n")
