"""Sweeps: the table is what single answers say, the same study makes the same bytes, and nothing done is done again."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import kvwall.simulator.answers.sweep as sweeping
from kvwall.hardware.errors import InputError
from kvwall.simulator.answers.step import step
from kvwall.simulator.answers.sweep import sweep
from kvwall.simulator.sweeping.study import Study, chunks, read_study

STUDY: dict[str, Any] = {
    "model": ["llama-3.1-8b", "deepseek-v3"],
    "on": ["h100:1", "h100:8"],
    "scheme": ["none", "kivi:bits=2"],
    "batch": [1, 8, 64],
    "context": "1k..64k*2",
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study of 168 points in chunks of 7."""
    monkeypatch.setattr(sweeping, "CHUNK_POINTS", 7)
    return Study.model_validate(STUDY)


def rows(path: Path) -> list[dict[str, Any]]:
    parts = [path] if path.is_file() else sorted(path.glob("*.parquet"))
    return [row for part in parts for row in pq.ParquetFile(part).read().to_pylist()]


def test_rows_are_what_step_says(tmp_path: Path, small: Study) -> None:
    answer = sweep(small, tmp_path / "table.parquet")
    found = rows(tmp_path / "table.parquet")
    assert answer.points == len(found) == 2 * 2 * 2 * 3 * 7
    for row in (found[0], found[25], found[40]):
        point = step(
            row["model"], on=row["on"], scheme=row["scheme"], batch=[row["batch"]], context=[row["context"]]
        ).points[0]
        assert row["step_s"] == pytest.approx(point.step_s.mid, rel=1e-12)
        assert row["step_s_low"] == pytest.approx(point.step_s.low, rel=1e-12)
        assert row["ideal_step_s"] == pytest.approx(point.ideal_step_s, rel=1e-12)
        assert row["kv_read_bytes"] == point.kv_read_bytes
        assert (row["fits"], row["bound_by"]) == (point.fits, point.bound_by)
        assert row["refused"] is None


def test_a_combination_that_cannot_be_is_there_with_its_reason(tmp_path: Path, small: Study) -> None:
    sweep(small, tmp_path / "parts")
    refused = [row for row in rows(tmp_path / "parts") if row["refused"]]
    assert {(row["model"], row["scheme"]) for row in refused} == {("deepseek-v3", "kivi:bits=2")}
    assert all(np.isnan(row["step_s"]) and not row["fits"] for row in refused)


def test_the_same_study_makes_the_same_bytes(tmp_path: Path, small: Study) -> None:
    for name in ("a.parquet", "b.parquet"):
        sweep(small, tmp_path / name)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_an_interrupted_sweep_goes_on(tmp_path: Path, small: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after five parts: they stay, the same command prices the rest, and the table is the uninterrupted one."""

    def stop(done: int, total: int) -> None:
        if done >= 5 * 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(small, tmp_path / "cut.parquet", progress=stop)
    assert not (tmp_path / "cut.parquet").exists()
    assert len(list((tmp_path / "cut.parquet.parts").glob("*.parquet"))) >= 5
    answer = sweep(small, tmp_path / "cut.parquet")
    assert answer.resumed >= 5 * 7
    sweep(small, tmp_path / "whole.parquet")
    assert (tmp_path / "cut.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_two_workers_one_of_which_dies_make_the_same_table(tmp_path: Path, small: Study) -> None:
    import dask
    from distributed import LocalCluster

    # The dead do not answer: here nobody waits half a minute for them.
    patience = dask.config.set({"distributed.comm.timeouts.connect": "2s", "distributed.comm.retry.count": 0})
    with (
        patience,
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
    ):
        victims = [worker.process.pid for worker in cluster.workers.values()]

        def kill(done: int, total: int) -> None:
            if victims and done >= total // 4:
                os.kill(victims.pop(), signal.SIGKILL)
                victims.clear()

        address = cluster.scheduler_address
        answer = sweep(small, tmp_path / "far.parquet", engine="dask", scheduler=address, progress=kill)
    assert answer.points == small.points
    assert not victims
    sweep(small, tmp_path / "near.parquet")
    assert (tmp_path / "far.parquet").read_bytes() == (tmp_path / "near.parquet").read_bytes()


def test_chunks_cover_the_table_in_order(small: Study) -> None:
    found = chunks(small, 7)
    assert sum(chunk.points for chunk in found) == small.points
    assert max(chunk.points for chunk in found) <= 7
    assert [chunk.number for chunk in found] == list(range(len(found)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: a\non: h100\nbatch: 1\ncontext: 1\nbach: 2\n", "unknown key 'bach'; did you mean 'batch'?"),
        ("model: a\non: h100\nbatch: []\ncontext: 1\n", "lists no numbers"),
        (
            "model: a\non: h100\nscheme: [none, fp8, int4]\nbatch: '1..1000000'\ncontext: '1..1000'\n",
            "3,000,000,000 points would take 180 GB (at most 2,000,000,000 points)",
        ),
    ],
)
def test_bad_study(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_study(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_bad_outputs_and_engines(tmp_path: Path, small: Study) -> None:
    sweep(small, tmp_path / "mine")
    other = Study.model_validate({**STUDY, "scheme": ["fp8"]})
    with pytest.raises(InputError, match="holds another study"):
        sweep(other, tmp_path / "mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="is not empty and holds no study"):
        sweep(small, tmp_path / "full")
    with pytest.raises(InputError, match="--engine dask needs --scheduler"):
        sweep(small, tmp_path / "x", engine="dask")
    for address in ("nowhere://x", "foo"):
        with pytest.raises(InputError, match=f"^--scheduler {address}: write tcp://HOST:PORT"):
            sweep(small, tmp_path / "y", engine="dask", scheduler=address)


def test_points_that_were_refused_are_told(tmp_path: Path) -> None:
    """No machine of a study has 'fp9': its rows have no figures, and the answer says how many and why."""
    study = Study.model_validate({**STUDY, "scheme": ["fp8", "fp9"]})
    answer = sweep(study, tmp_path / "half.parquet")
    (warning,) = answer.warnings
    assert warning.startswith(f"{answer.points // 2:,} of {answer.points:,} points refused"), warning
    assert "unknown scheme 'fp9'" in warning
