"""``kvwall predict`` on the command line."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]

KERNELS = """gpu,framework,kernel,dtype,mine,batch,q_len,kv_len,n_q_heads,n_kv_heads,head_dim,m,n,k
h100,vllm,decode_attention,bf16,"a,b",16,1,4096,32,8,128,,,
h100,vllm,softmax,bf16,x,,,,,,,,,
"""
SERVING = """model,gpu,tp,batch,input_len,output_len,engine,metric
llama-3.1-8b,h100,1,8,1024,256,vllm,tpot_ms
llama-3.1-8b,h100,1,8,1024,256,vllm,goodput
"""
ADDED = ["predicted_us", "low_us", "high_us", "ideal_us", "bound_by", "calibration", "note"]


def _file(folder: Path, text: str, name: str = "points.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_columns_are_copied_through_and_the_prediction_stands_behind_them(tmp_path: Path, run: Run) -> None:
    status, out, err = run("predict", _file(tmp_path, KERNELS))
    assert (status, err) == (0, "")
    first, second = csv.DictReader(io.StringIO(out))
    assert list(first) == [*KERNELS.splitlines()[0].split(","), *ADDED]
    assert first["mine"] == "a,b"
    assert 0 < float(first["low_us"]) < float(first["predicted_us"]) < float(first["high_us"])
    assert (first["bound_by"], second["bound_by"]) == ("hbm", "")
    assert [second[name] for name in ADDED[:6]] == [""] * 6
    assert second["note"] == "unknown kernel 'softmax'"


def test_a_predicted_table_can_be_predicted_again(tmp_path: Path, run: Run) -> None:
    once = run("predict", _file(tmp_path, KERNELS))[1]
    again = run("predict", _file(tmp_path, once, "again.csv"))[1]
    assert again == once


def test_output_goes_to_a_file_and_a_summary_to_people(tmp_path: Path, run: Run) -> None:
    output = tmp_path / "out.csv.gz"
    status, out, _ = run("predict", _file(tmp_path, KERNELS), "-o", output)
    assert status == 0
    assert f"1 of 2 rows predicted, written to {output}" in " ".join(out.split())
    assert gzip.decompress(output.read_bytes()).decode() == run("predict", tmp_path / "points.csv")[1]


def test_json_holds_every_row(tmp_path: Path, run: Run) -> None:
    document = json.loads(run("predict", _file(tmp_path, KERNELS), "--calibration", "none", "--json")[1])
    assert {"schema_version", "kvwall_version", "assumptions", "warnings"} <= set(document)
    assert (document["rows"], document["predicted"], document["kind"]) == (2, 1, "kernels")
    assert document["calibrations"] == {"uncalibrated": 1}
    assert document["results"][1]["predicted"] is None
    assert document["results"][0]["low"] < document["results"][0]["predicted"]


def test_a_serving_table_is_predicted_in_its_own_unit(tmp_path: Path, run: Run) -> None:
    first, second = csv.DictReader(io.StringIO(run("predict", _file(tmp_path, SERVING))[1]))
    assert list(first)[-4:] == ["predicted", "low", "high", "note"]
    assert 4.4 < float(first["predicted"]) < 20
    assert second["predicted"] == ""
    assert second["note"] == "metric 'goodput' is not predicted (tpot_ms and ttft_ms are)"


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (KERNELS, ["--calibration", "h100-sxm5-80gb.vlm"], "did you mean 'h100-sxm5-80gb.vllm'?"),
        (KERNELS, ["--calibration", "gone.yaml"], "gone.yaml: cannot be read (No such file or directory)"),
        ("m,n,k\n1,2,3\n", [], "has no column 'kernel' (found: m, n, k)"),
        ("kernel,m\ngemm,1\n", [], "has no column 'gpu' (found: kernel, m)"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, run: Run, text: str, arguments: list[str], message: str) -> None:
    status, out, err = run("predict", _file(tmp_path, text), *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.startswith("kvwall: ")
    assert err.count("\n") == 1


def test_a_folder_is_no_output(tmp_path: Path, run: Run) -> None:
    status, _, err = run("predict", _file(tmp_path, KERNELS), "-o", tmp_path)
    assert (status, err) == (2, f"kvwall: -o {tmp_path}: is a folder, expected the name of a file\n")
