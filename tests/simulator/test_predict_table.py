"""Tables of points: reading, damage, numbers and what is written again."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from kvwall.hardware.errors import InputError
from kvwall.simulator.predicting.saving import save_table
from kvwall.simulator.predicting.table import numbers, one_table, read_table, require_columns


def _file(folder: Path, text: str, name: str = "points.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_gzipped_table_is_the_same_table(tmp_path: Path) -> None:
    text = "gpu,kernel,m\nh100,gemm,8\na100,gemm,16\n"
    plain = read_table(_file(tmp_path, text))
    packed = tmp_path / "points.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert (
        read_table(packed).cells == plain.cells == {"gpu": ["h100", "a100"], "kernel": ["gemm"] * 2, "m": ["8", "16"]}
    )


def test_values_of_extra_stand_in_for_empty_cells(tmp_path: Path) -> None:
    text = "gpu,num_gpus,extra\nh100,,num_gpus=4;elements=8\nh100,2,num_gpus=4\nh100,,\n"
    table = read_table(_file(tmp_path, text))
    assert table.extra("num_gpus") == ["4", "2", ""]
    assert table.extra("elements") == ["8", "", ""]


def test_rows_of_another_length_keep_their_place_and_are_told(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, "gpu,kernel,m\nh100,gemm\nh100,gemm,4,9\nh100,gemm,5\n"))
    assert table.cells["m"] == ["", "4", "5"]
    assert table.damaged == {0: "the row has 2 cells, the header 3", 1: "the row has 4 cells, the header 3"}


def test_only_finite_numbers_are_numbers() -> None:
    found = numbers(["1e3", " 2 ", "", "inf", "nan", "many"])
    assert found.values[:2].tolist() == [1000.0, 2.0]
    assert np.isnan(found.values[2:]).all()
    assert found.bad == {3: "inf", 4: "nan", 5: "many"}


def test_tables_of_different_columns_become_one(tmp_path: Path) -> None:
    first = read_table(_file(tmp_path, "gpu,m\nh100,1\n", "a.csv"))
    second = read_table(_file(tmp_path, "gpu,k\na100,2,3\n", "b.csv"))
    both = one_table([first, second], "folder")
    assert both.cells == {"gpu": ["h100", "a100"], "m": ["1", ""], "k": ["", "2"]}
    assert both.damaged == {1: "the row has 3 cells, the header 2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty, expected a CSV header"),
        ("gpu,kernel\n", "has a header and no rows"),
        ("gpu;kernel\nh100;gemm\n", "has one column 'gpu;kernel'; it uses semicolons"),
        ("gpu,gpu\nh100,h100\n", "the column 'gpu' stands twice"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert str(caught.value) == f"{path}: {message}"


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    for name, raw, message in (
        ("a.csv", b"gpu,\0", "is a binary file, expected CSV"),
        ("b.csv", b"gpu,m\n\xff\xfe,1\n", "is not UTF-8 text (byte 6)"),
        ("c.csv.gz", gzip.compress(b"gpu,m\n")[:-6], "is a damaged gzip file"),
        ("d.csv", b"PK\x03\x04zip", "is an archive, expected CSV or gzipped CSV"),
    ):
        path = tmp_path / name
        path.write_bytes(raw)
        with pytest.raises(InputError) as caught:
            read_table(path)
        assert str(caught.value).startswith(f"{path}: {message}")
    with pytest.raises(InputError, match="is a folder, expected a CSV file"):
        read_table(tmp_path)
    with pytest.raises(InputError, match=r"cannot be read \(No such file or directory\)"):
        read_table(tmp_path / "none.csv")


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, "gpu,kernel_name,m\nh100,gemm,1\n"))
    with pytest.raises(InputError) as caught:
        require_columns(table, ("gpu", "kernel"))
    assert str(caught.value) == (
        f"{table.where}: has no column 'kernel'; did you mean 'kernel_name'? (found: gpu, kernel_name, m)"
    )


def test_a_saved_table_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    path = tmp_path / "out.csv.gz"
    save_table(path, "a,b\n1,2\n")
    first = path.read_bytes()
    save_table(path, "a,b\n1,2\n")
    assert path.read_bytes() == first
    assert gzip.decompress(first) == b"a,b\n1,2\n"
    assert [file.name for file in tmp_path.iterdir()] == ["out.csv.gz"]
    with pytest.raises(InputError, match="cannot be written"):
        save_table(tmp_path / "no" / "out.csv", "a\n")
