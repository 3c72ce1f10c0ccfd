"""``kvwall agree`` on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]

HEADER = "gpu,framework,kernel,dtype,m,n,k,latency_us,flag"
ROWS = [
    "h100,none,gemm,bf16,8192,8192,8192,2000,",
    "h100,none,gemm,bf16,16,4096,4096,20,",
    "a100,none,gemm,bf16,4096,4096,4096,700,",
    "a100,none,gemm,bf16,4096,4096,4096,1,above_peak_flops",
    "a100,none,gemm,bf16,4096,4096,4096,,",
    "a100,none,softmax,bf16,1,1,1,5,",
]


def _file(folder: Path, rows: list[str] = ROWS, header: str = HEADER) -> Path:
    path = folder / "points.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_rows_left_out_are_counted_and_the_rest_compared(tmp_path: Path, run: Run) -> None:
    status, out, _ = run("agree", _file(tmp_path), "--by", "gpu,kernel", "--calibration", "none", "--json")
    document = json.loads(out)
    assert status == 0
    assert (document["rows"], document["flagged"], document["unmeasured"]) == (6, 1, 1)
    assert document["unpredicted"] == {"unknown kernel 'softmax'": 1}
    assert document["overall"]["n"] == 3
    assert [(group["group"], group["n"]) for group in document["groups"]] == [
        ({"gpu": "h100", "kernel": "gemm"}, 2),
        ({"gpu": "a100", "kernel": "gemm"}, 1),
    ]
    assert sum(regime["n"] for regime in document["by_regime"]) == 3
    assert {"median", "p90", "p99", "bias", "inside_band", "median_interval", "p90_interval"} <= set(
        document["overall"]
    )


def test_the_error_is_that_of_predict(tmp_path: Path, run: Run) -> None:
    predicted = json.loads(run("predict", _file(tmp_path, ROWS[:1]), "--json")[1])["results"][0]["predicted"]
    overall = json.loads(run("agree", tmp_path / "points.csv", "--json")[1])["overall"]
    assert overall["bias"] == pytest.approx(predicted / 2000 - 1, rel=1e-4)
    assert overall["median"] == pytest.approx(abs(overall["bias"]))


def test_the_table_and_its_markdown_show_the_same(tmp_path: Path, run: Run) -> None:
    table = run("agree", _file(tmp_path), "--by", "gpu")[1]
    markdown = run("agree", tmp_path / "points.csv", "--by", "gpu", "--markdown")[1]
    assert "left out of 6 rows: 1 flagged, 1 not measured, 1 not predicted" in table
    assert "left out of 6 rows: 1 flagged, 1 not measured, 1 not predicted" in markdown
    assert "| points | n | median % | p90 % | p99 % | bias % | in band % |" in markdown
    assert "| h100 | 2 |" in markdown
    assert max(map(len, table.splitlines()[:10])) <= 100


def test_a_serving_table_is_compared_with_its_value(tmp_path: Path, run: Run) -> None:
    header = "model,gpu,tp,batch,input_len,output_len,engine,metric,value"
    path = _file(tmp_path, ["llama-3.1-8b,h100,1,8,1024,256,vllm,tpot_ms,7.5"], header)
    document = json.loads(run("agree", path, "--by", "metric", "--json")[1])
    assert document["kind"] == "serving"
    assert document["by_regime"] == []
    assert document["groups"][0]["group"] == {"metric": "tpot_ms"}
    status, _, err = run("agree", path, "--out-of-fold")
    assert status == 2
    assert err == "kvwall: --out-of-fold: a serving table has no folds, its constants are not fitted to it\n"


def test_nothing_to_compare_is_told(tmp_path: Path, run: Run) -> None:
    status, out, _ = run("agree", _file(tmp_path, ROWS[3:]))
    assert status == 0
    assert "left out of 3 rows: 1 flagged, 1 not measured, 1 not predicted" in out


@pytest.mark.parametrize(
    ("header", "arguments", "message"),
    [
        ("gpu,kernel,m,n,k,latency", [], "has no column 'latency_us'; did you mean 'latency'?"),
        (HEADER, ["--by", "framwork"], "has no column 'framwork'; did you mean 'framework'?"),
    ],
)
def test_a_missing_column_is_named(tmp_path: Path, run: Run, header: str, arguments: list[str], message: str) -> None:
    path = _file(tmp_path, ["1" + ",1" * header.count(",")], header)
    status, _, err = run("agree", path, *arguments)
    assert status == 2
    assert err.startswith(f"kvwall: {path}: {message}")
